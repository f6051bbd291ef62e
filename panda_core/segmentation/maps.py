"""From distances on a grid to an image score and to a map as large as the image. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from panda_core.region import Region
from panda_core.segmentation.geometry import Cells, reading_weights

REFERENCE_SIDE = 224  # the side of the input for which the papers give the blur
SMALLEST = 1e-6  # a distance of 0, of a patch that is in the bank, would divide by zero
FAINTEST = 1e-3  # of a pixel of a map: what less of it comes from cells that count is nothing but rounding
BLUR_REACH = 4  # spreads of a Gaussian beyond which it is cut off; less than 1e-4 of it lies there


def enlarged(maps: np.ndarray, side: tuple[int, int]) -> np.ndarray:
    """Return maps (B, h, w) on a finer grid of `side` (height, width), bilinearly, corners not aligned."""
    if maps.shape[1:] == side:
        return maps
    rows, columns = (
        reading_weights(Cells.even(1, count).places(Cells.even(1, number), number, 0), count)
        for count, number in zip(maps.shape[1:], side, strict=True)
    )
    return np.asarray(rows @ maps.astype(np.float32, copy=False) @ columns.T, np.float32)  # (B, *side)


def merged(levels: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Return the weighted mean (B, g, g) of maps (B, h, w) of several levels, on the finest one's grid.

    weights: of the levels; None: a level counts by the side of its map, for fine ones say where a defect is, and deep
    ones blur what they are surer of.
    """
    return _weighted(levels, weights, np.asarray)


def agreed(levels: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """Return maps (B, g, g) of where the maps (B, h, w) >= 0 of several levels agree, on the finest one's grid.

    The root of the harmonic mean of squares, weighted as in `merged`: small values count most, so that a place stands
    out only where no level finds it normal. A deep level sees a defect from far around it, a fine one takes texture
    for a defect, but seldom both at the same place.
    """
    return 1 / np.sqrt(_weighted(levels, weights, lambda level: 1 / np.square(np.maximum(level, SMALLEST))))


def _weighted(
    levels: Sequence[np.ndarray], weights: Sequence[float] | None, view: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the weighted mean (B, g, g) of `view` of maps (B, h, w) on the finest one's grid."""
    side = max((level.shape[1], level.shape[2]) for level in levels)
    shares = np.array(weights or [level.shape[1] for level in levels], np.float32)
    total = np.zeros((len(levels[0]), *side), np.float32)
    for level, share in zip(levels, shares / shares.sum(), strict=True):
        total += share * view(enlarged(level, side))
    return total


def full_map(grid: np.ndarray, size: int, sigma: float, region: Region | None = None) -> np.ndarray:
    """Return the map (H, W) of one image from its grid (h, w): enlarged bilinearly, then blurred.

    size: its longer side; the shorter one is in proportion to the grid, so that the map of a square grid is square.
    sigma: of the Gaussian, in pixels where `size` is 224 (SPADE and PatchCore: 4), scaled with `size`. Beyond the
    centers of its outermost patches the grid is mirrored at them, so that a constant map stays constant. The papers'
    code continues it evenly and mirrors the map at the border; such a map is highest on the border row itself wherever
    a defect near the rim lies. region: what of the image counts; the map is 0 elsewhere, and what is elsewhere in the
    grid has no part in it.
    """
    rows, columns = drawing_matrices((grid.shape[0], grid.shape[1]), size, sigma)
    values = grid.astype(np.float32, copy=False)
    if region is None:
        return np.asarray(rows @ values @ columns.T, np.float32)  # (H, W)
    counts = counted_cells(region, values.shape)
    return np.asarray(rows @ (values * counts) @ columns.T, np.float32) * drawn_share(region, values.shape, size, sigma)


@lru_cache(maxsize=16)
def drawn_share(region: Region, shape: tuple[int, ...], size: int, sigma: float) -> np.ndarray:
    """Return what to multiply a drawn map (H, W) with, of a grid of `shape` (h, w) that is 0 where nothing counts.

    Pixels of the region get the mean of the cells that count alone, weighted as they are drawn; all others 0.
    """
    rows, columns = drawing_matrices((shape[0], shape[1]), size, sigma)
    weights = rows @ counted_cells(region, shape).astype(np.float32) @ columns.T
    counts = region.inside(weights.shape) & (weights > FAINTEST)
    return np.where(counts, 1 / np.maximum(weights, FAINTEST), 0).astype(np.float32)


@lru_cache(maxsize=16)
def counted_cells(region: Region, shape: tuple[int, ...]) -> np.ndarray:
    """Return which cells of a grid (h, w) over the image count: bool, at least one."""
    centers = [(np.arange(count) + 0.5) / count for count in shape]
    return counted_places(region, centers[0], centers[1])


def counted_places(region: Region, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return which cells with centers at `rows` (h,) and `columns` (w,), in shares of the image, count: bool (h, w).

    Those whose centers do. Of a region between all centers it is the cell nearest to the middle of it.
    """
    counts = region.at(rows, columns)
    if not counts.any():
        middle = [
            (places.mean() + 0.5) / count for places, count in zip(np.nonzero(region.marked), region.shape, strict=True)
        ]
        row, column = (int(np.abs(at - own).argmin()) for at, own in zip((rows, columns), middle, strict=True))
        counts = np.zeros_like(counts)
        counts[row, column] = True
    return counts


def drawing_matrices(shape: tuple[int, int], size: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of rows (H, h) and columns (W, w) by which `full_map` draws a grid of `shape` (h, w)."""
    spread = sigma * size / REFERENCE_SIDE
    rows, columns = (
        drawing_weights(count, side, spread) for count, side in zip(shape, map_shape(shape, size), strict=True)
    )
    return rows, columns


def map_shape(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Return the (height, width) of a map of `size` pixels, the longer one, that is drawn of a grid of `shape`."""
    height, width = (max(1, round(size * count / max(shape))) for count in shape)
    return height, width


@lru_cache(maxsize=64)
def drawing_weights(count: int, size: int, spread: float) -> np.ndarray:
    """Return the weights (size, count), float32, that draw a row of `count` patches as `size` blurred pixels.

    spread: of the Gaussian, in these pixels.
    """
    reach = int(BLUR_REACH * spread)
    pixels = Cells(1.0, (0.5 - reach, 0.5 - reach))  # those of the row and, on either side, as many as the blur reaches
    places = Cells.even(size, count).places(pixels, size + 2 * reach, 0)
    linear = reading_weights(_mirrored(places, count), count)  # (size + 2 reach, count)
    if not reach:
        return linear
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / spread))
    windows = np.lib.stride_tricks.sliding_window_view(linear, len(kernel), axis=0)  # (size, count, 2 reach + 1)
    return np.asarray(windows @ (kernel / kernel.sum()), np.float32)


def _mirrored(places: np.ndarray, count: int) -> np.ndarray:
    """Return places, in cells, mirrored at the centers of the first and the last of `count` as often as needed."""
    if count == 1:
        return np.zeros_like(places)
    folded = np.abs(places) % (2 * (count - 1))
    return np.minimum(folded, 2 * (count - 1) - folded)


def highest(grids: np.ndarray, size: int, sigma: float, region: Region | None = None) -> np.ndarray:
    """Return the highest value (B,) of the full map of each grid (B, g, g)."""
    return np.array([full_map(grid, size, sigma, region).max() for grid in grids], np.float32)


def top_mean(grids: np.ndarray, top: float) -> np.ndarray:
    """Return, for each grid (B, g, g), the mean of its highest `top` share of values, at least one: (B,).

    0 is the highest value alone (PatchCore); 0.01 is AnomalyDINO's rule.
    """
    flat = grids.reshape(len(grids), -1)
    count = max(1, round(top * flat.shape[1]))
    return np.partition(flat, flat.shape[1] - count, axis=1)[:, -count:].mean(axis=1)


def rotated(image: np.ndarray, rotation: int, rotations: int) -> np.ndarray:
    """Return the image turned anticlockwise by `rotation` of `rotations` equal parts of a full turn.

    Quarter turns move pixels; others interpolate, and corners that come from outside are mirrored in.
    """
    if 4 * rotation % rotations == 0:
        return np.ascontiguousarray(np.rot90(image, 4 * rotation // rotations))
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 360 * rotation / rotations, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
