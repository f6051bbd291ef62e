"""Strokes of a brush on an image: read from what a browser sends, and painted."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

MOST_STROKES, MOST_POINTS = 200, 2000
WIDEST = 0.5  # of the image's longer side
_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel
_FINER = 4  # times as wide and high as a picture, outlines are drawn
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclasses.dataclass(frozen=True)
class Stroke:
    """One stroke.

    points: (x, y) of its way, each in [0, 1] from the left and from the top of the image.
    colour: "#rrggbb".
    width: in shares of the image's longer side.
    filled: whether it is a blob, whose way goes round it, or else a line.
    """

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float
    filled: bool


def strokes_of(sent: object) -> list[Stroke]:
    """Return the strokes that a browser sent: a list of {points, colour, width, filled}. What is none is passed over.

    Whatever is sent, what comes back is small and lies on the image.
    """
    strokes = (_stroke(item) for item in (sent[:MOST_STROKES] if isinstance(sent, list) else ()))
    return [stroke for stroke in strokes if stroke is not None]


def _stroke(item: object) -> Stroke | None:
    if not isinstance(item, dict):
        return None
    try:
        points = tuple((_share(x), _share(y)) for x, y in list(item["points"])[:MOST_POINTS])
        colour, width = str(item["colour"]), float(item["width"])
    except (KeyError, TypeError, ValueError):
        return None
    if not points or not _COLOUR.fullmatch(colour) or not 0 < width <= WIDEST:
        return None
    return Stroke(points, colour, width, bool(item.get("filled")))


def _share(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("A place must be finite.")
    return min(max(number, 0.0), 1.0)


def painted(image: np.ndarray, strokes: Sequence[Stroke]) -> np.ndarray:
    """Return `image` (H, W, 3), uint8, with the strokes painted on it in their order, their edges smooth."""
    drawn = np.ascontiguousarray(image).copy()
    height, width = drawn.shape[:2]
    scale = 1 << _FRACTION_BITS
    for stroke in strokes:
        way = (np.array(stroke.points) * (width, height) * scale).round().astype(np.int32)
        colour = tuple(int(stroke.colour[at : at + 2], 16) for at in (1, 3, 5))
        thickness = max(1, round(stroke.width * max(height, width)))
        if stroke.filled and len(way) > 2:
            cv2.fillPoly(drawn, [way], colour, cv2.LINE_AA, _FRACTION_BITS)
        if len(way) == 1:
            center = (int(way[0][0]), int(way[0][1]))
            cv2.circle(drawn, center, round(thickness / 2 * scale), colour, cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS)
        else:
            cv2.polylines(drawn, [way], stroke.filled, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)
    return drawn


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What is marked on a picture: outlines, each of (x, y) in [0, 1]. swapped: all but what they hold is marked."""

    shapes: tuple[tuple[tuple[float, float], ...], ...] = ()
    swapped: bool = False


def shapes_of(sent: object) -> Shapes:
    """Return the shapes that a browser sent: {shapes: [[[x, y], ...], ...], swapped}. What is none is passed over."""
    if not isinstance(sent, dict):
        return Shapes()
    given = sent.get("shapes")
    found = (_outline(item) for item in (given[:MOST_STROKES] if isinstance(given, list) else ()))
    return Shapes(tuple(shape for shape in found if shape is not None), sent.get("swapped") is True)


def _outline(item: object) -> tuple[tuple[float, float], ...] | None:
    try:
        points = tuple((_share(x), _share(y)) for x, y in list(item)[:MOST_POINTS])  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None
    return points if len(points) > 2 else None


def marked_by(shapes: Shapes, size: tuple[int, int]) -> np.ndarray:
    """Return which pixels of a picture of `size` (height, width) shapes mark: bool (H, W), those with a center inside.

    What several shapes hold is marked as well; of one that crosses itself, what it encloses twice is not (even-odd).
    """
    height, width = size
    marked = np.zeros(size, np.uint8)
    for shape in shapes.shapes:
        # OpenCV fills the pixels on the outline, too: drawn finer, and read at the centers, hardly any is too many.
        fine = np.zeros((height * _FINER, width * _FINER), np.uint8)
        way = (np.array(shape) * (width, height) * _FINER).round().astype(np.int32)
        cv2.fillPoly(fine, [way], 1)
        marked |= fine[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]
    return (marked == 0) if shapes.swapped else (marked > 0)
