"""Maps over images: one colour scale for a whole run, its middle where maps of normal images hardly ever reach.

Everything here is a pure function of arrays. A map (S, S) lies over the whole image, whatever its aspect; higher =
more anomalous. Most tools stretch the colours of each image from its own lowest to its own highest value, so that
normal images glow as red as defects do; here that is a scale of its own, `own_scale`, and never the default.
"""

from __future__ import annotations

import dataclasses
import io
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from panda_core.figures.style import ANOMALOUS, MARK

# Position on the scale, colour and opacity: blue and see-through where all is normal, pale in the middle, vermilion
# and then dark red above it. Blue against vermilion is told apart by the colour-blind, and lightness falls both ways.
_STOPS = (
    (0.0, (28, 131, 194), 0.0),
    (0.35, (86, 164, 214), 0.3),
    (0.5, (250, 240, 215), 0.6),
    (0.62, (240, 168, 60), 0.85),
    (0.8, (213, 94, 0), 0.95),
    (1.0, (122, 16, 12), 1.0),
)
_POSITIONS = np.array([stop[0] for stop in _STOPS])
_CHANNELS = np.array([[*colour, 255 * opacity] for _, colour, opacity in _STOPS])  # RGBA, each in [0, 255]
PALE = 0.6  # how much of what does not count is white
FADED = "What is pale lies outside of the region of interest and does not count."
NO_GRIDS = np.zeros((0, 1, 1))
OUTLINE = (0, 158, 115)  # of what people marked: Okabe and Ito's green, on a white rim


@dataclasses.dataclass(frozen=True)
class Scale:
    """Values at the lower end, in the middle and at the upper end of the colours.

    calibrated: whether the middle comes from normal images, so that warm colours mean "hardly ever on normal ones".
    """

    low: float
    middle: float
    high: float
    calibrated: bool = True

    def positions(self, values: np.ndarray) -> np.ndarray:
        """Return where `values` lie on the scale, in [0, 1]; values beyond its ends lie at them."""
        below = (values - self.low) / max(self.middle - self.low, 1e-12)
        above = (values - self.middle) / max(self.high - self.middle, 1e-12)
        return np.clip(np.where(values < self.middle, below, 1 + above) / 2, 0, 1)


def fixed_scale(low: float | None, middle: float | None, grids: np.ndarray = NO_GRIDS) -> Scale:
    """Return the one scale of a run: as far beyond the middle as the lower end is below it.

    low, middle: `map_low` and `map_middle` of the run's calibration. Where these are None, no normal image was held
    out, and grids (M, g, g) of the test images say where the colours begin and end.
    """
    if low is not None and middle is not None:
        middle = max(middle, low + 1e-6)  # maps that are constant have their middle at the lower end
        return Scale(low, middle, 2 * middle - low)
    values = grids[np.isfinite(grids)]
    low = float(np.median(values)) if len(values) else 0.0
    high = max(float(values.max()), low + 1e-6) if len(values) else 1.0
    return Scale(low, (low + high) / 2, high, calibrated=False)


def own_scale(values: np.ndarray) -> Scale:
    """Return the scale that runs from the lowest to the highest value of one map: it makes every image look hot."""
    low, high = float(values.min()), float(values.max())
    high = max(high, low + 1e-6)
    return Scale(low, (low + high) / 2, high, calibrated=False)


def coloured(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Return a map (H, W) as RGBA uint8 (H, W, 4) on `scale`; see-through at its lower end."""
    positions = scale.positions(values)
    channels = [np.interp(positions, _POSITIONS, _CHANNELS[:, channel]) for channel in range(4)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def colourscale() -> list[list[object]]:
    """Return the colours as Plotly writes a scale: [position, "rgba(...)"]."""
    return [[stop, f"rgba({red}, {green}, {blue}, {opacity:g})"] for stop, (red, green, blue), opacity in _STOPS]


def fitted(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return a map (S, S) stretched back over `image` (H, W, 3): float32 (H, W)."""
    return cv2.resize(values.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def heated(image: np.ndarray, values: np.ndarray, scale: Scale, opacity: float = 0.7) -> np.ndarray:
    """Return `image` (H, W, 3) with its map (S, S) laid over it in colours; opacity in [0, 1]."""
    colours = coloured(fitted(values, image), scale)
    weight = opacity * colours[..., 3:].astype(np.float32) / 255
    return (image * (1 - weight) + colours[..., :3] * weight).round().astype(np.uint8)


def png_of(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def contoured(image: np.ndarray, values: np.ndarray, level: float) -> np.ndarray:
    """Return `image` with a line where its map crosses a level."""
    return _outlined(image, fitted(values, image) > level, _rgb(ANOMALOUS))


def shaded(image: np.ndarray, values: np.ndarray, level: float, opacity: float = 0.7) -> np.ndarray:
    """Return `image` with everything coloured whose map lies above a level."""
    weight = opacity * (fitted(values, image) > level)[..., None]
    return (image * (1 - weight) + np.array(_rgb(ANOMALOUS)) * weight).round().astype(np.uint8)


def boxed(image: np.ndarray, values: np.ndarray, level: float) -> np.ndarray:
    """Return `image` with a box round each connected region above a level of its map."""
    drawn = np.ascontiguousarray(image)
    for left, top, width, height, _ in regions(fitted(values, image), level):
        drawn = framed(drawn, (left, top, left + width, top + height))
    return drawn


class Region(NamedTuple):
    """A connected region of a map: the box around it, and how many pixels it covers."""

    left: int
    top: int
    width: int
    height: int
    area: int

    def scaled(self, across: float, down: float) -> Region:
        """Return the region in a picture that is so many times as wide and as high, in whole pixels, at least one."""
        left, right = round(self.left * across), round((self.left + self.width) * across)
        top, bottom = round(self.top * down), round((self.top + self.height) * down)
        area = round(self.area * across * down)
        return Region(left, top, max(1, right - left), max(1, bottom - top), max(1, area))


def regions(values: np.ndarray, level: float) -> list[Region]:
    """Return each connected region of a map above a level, the largest first."""
    above = (values > level).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)  # a row has the fields of `Region`
    return sorted((Region(*row) for row in stats[1:].tolist()), key=lambda region: -region.area)


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Return an image (H, W, 3) whose longer side has at most `side` pixels."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(scale * length)) for length in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def marked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return `image` with the outline of what people marked as defective: mask (h, w) bool, of any size."""
    fitting = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return _outlined(image, fitting > 0, OUTLINE)


def faded(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return `image` (H, W, 3) as it is inside (H, W) the region of interest; elsewhere, which does not count, pale."""
    pale = (image.mean(axis=2, keepdims=True) * (1 - PALE) + 255 * PALE).round().astype(np.uint8)
    return _outlined(np.where(inside[:, :, None], image, pale), inside, _rgb(MARK))


def framed(
    image: np.ndarray,
    box: tuple[float, float, float, float],
    colour: tuple[int, int, int] | None = None,
    thin: int | None = None,
) -> np.ndarray:
    """Return `image` with a frame round `box`, (left, top, right, bottom) in pixels; by default vermilion on white.

    thin: pixels of the frame without its white rim; by default as the image is large.
    """
    drawn = np.ascontiguousarray(image).copy()
    height, width = drawn.shape[:2]
    left, top = (round(max(value, 0)) for value in box[:2])
    right, bottom = round(min(box[2], width)) - 1, round(min(box[3], height)) - 1
    thin = thin or _thickness(image)
    for thickness, ink in ((thin + 2, (255, 255, 255)), (thin, colour or _rgb(ANOMALOUS))):
        cv2.rectangle(drawn, (left, top), (right, bottom), ink, thickness)
    return drawn


def cropped(image: np.ndarray, box: tuple[float, float, float, float], side: int, around: float = 3.0) -> np.ndarray:
    """Return what lies around `box`, (left, top, right, bottom) in pixels, framed: uint8 (side, side, 3).

    around: how many times as wide as the box's longer side the crop is; at the rim of the image it is moved inside.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    wide = min(around * max(right - left, bottom - top), width, height)
    x = min(max((left + right - wide) / 2, 0), width - wide)
    y = min(max((top + bottom - wide) / 2, 0), height - wide)
    scale = side / wide
    matrix = np.array([[scale, 0, -x * scale + (scale - 1) / 2], [0, scale, -y * scale + (scale - 1) / 2]])
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = cv2.warpAffine(image, matrix, (side, side), flags=shrinks, borderMode=cv2.BORDER_REPLICATE)
    place = ((left - x) * scale, (top - y) * scale, (right - x) * scale, (bottom - y) * scale)
    return framed(crop, place, thin=max(2, side // 64))


def _outlined(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    drawn = np.ascontiguousarray(image).copy()
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thin = _thickness(image)
    for thickness, ink in ((thin + 2, (255, 255, 255)), (thin, colour)):  # a rim: no image hides both
        cv2.drawContours(drawn, lines, -1, ink, thickness)
    return drawn


def _thickness(image: np.ndarray) -> int:
    return max(2, max(image.shape[:2]) // 200)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
