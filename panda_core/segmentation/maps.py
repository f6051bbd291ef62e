"""From distances on a grid to an image score and to a map as large as the image. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

REFERENCE_SIDE = 224  # the side of the input for which the papers give the blur
SMALLEST = 1e-6  # a distance of 0, of a patch that is in the bank, would divide by zero


def enlarged(maps: np.ndarray, side: tuple[int, int]) -> np.ndarray:
    """Return maps (B, h, w) on a finer grid of `side` (height, width), bilinearly, corners not aligned."""
    if maps.shape[1:] == side:
        return maps
    return np.stack([cv2.resize(one, side[::-1], interpolation=cv2.INTER_LINEAR) for one in maps])


def merged(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Return the weighted mean (B, g, g) of maps (B, h, w) of several levels, on the finest one's grid.

    A level counts by the side of its map: fine ones say where a defect is, deep ones blur what they are surer of.
    """
    return _weighted(levels, np.asarray)


def agreed(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Return maps (B, g, g) of where the maps (B, h, w) >= 0 of several levels agree, on the finest one's grid.

    The root of the harmonic mean of squares, weighted as in `merged`: small values count most, so that a place stands
    out only where no level finds it normal. A deep level sees a defect from far around it, a fine one takes texture
    for a defect, but seldom both at the same place.
    """
    return 1 / np.sqrt(_weighted(levels, lambda level: 1 / np.square(np.maximum(level, SMALLEST))))


def _weighted(levels: Sequence[np.ndarray], view: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the mean (B, g, g) of `view` of maps (B, h, w), weighted by their sides, on the finest one's grid."""
    side = max((level.shape[1], level.shape[2]) for level in levels)
    weights = np.array([level.shape[1] for level in levels], np.float32)
    total = np.zeros((len(levels[0]), *side), np.float32)
    for level, weight in zip(levels, weights / weights.sum(), strict=True):
        total += weight * view(enlarged(level, side))
    return total


def full_map(grid: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """Return the map (size, size) of one image from its grid (g, g): enlarged bilinearly, then blurred.

    sigma: of the Gaussian, in pixels where `size` is 224 (SPADE and PatchCore: 4), scaled with `size`. The border is
    mirrored, so that a constant map stays constant.
    """
    large = enlarged(grid[None], (size, size))[0]
    blur = sigma * size / REFERENCE_SIDE
    return cv2.GaussianBlur(large, (0, 0), blur, borderType=cv2.BORDER_REFLECT) if blur else large


def highest(grids: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """Return the highest value (B,) of the full map of each grid (B, g, g)."""
    return np.array([full_map(grid, size, sigma).max() for grid in grids], np.float32)


def top_mean(grids: np.ndarray, top: float) -> np.ndarray:
    """Return, for each grid (B, g, g), the mean of its highest `top` share of values, at least one: (B,).

    0 is the highest value alone (PatchCore); 0.01 is AnomalyDINO's rule.
    """
    flat = grids.reshape(len(grids), -1)
    count = max(1, round(top * flat.shape[1]))
    return np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:].mean(axis=1)


def turned(image: np.ndarray, turn: int, turns: int) -> np.ndarray:
    """Return the image turned anticlockwise by `turn` of `turns` equal parts of a full turn.

    Quarter turns move pixels; others interpolate, and corners that come from outside are mirrored in.
    """
    if 4 * turn % turns == 0:
        return np.ascontiguousarray(np.rot90(image, 4 * turn // turns))
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 360 * turn / turns, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
