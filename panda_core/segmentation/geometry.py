"""Where the cells of a map lie in the image, and how a map is read at other places. Light: no torch.

Places are in pixels from the image's corner: the center of the first pixel is at 0.5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

# Networks halve the image five times. At a multiple of 32 each stage sees an even number of rows, as in training. At
# other sizes their padding moves all maps, and patches are less telling: on magnetic tiles AUPRO falls from 73.9 at 224
# to 56.4 at 225 px, and is 62.0 where the move alone is undone.
STRIDE = 32


@dataclasses.dataclass(frozen=True)
class Cells:
    """A regular row of cells along each side of an image.

    stride: pixels from one cell's center to the next.
    first: the center of the first cell, (row, column), in pixels.
    """

    stride: float
    first: tuple[float, float]

    @staticmethod
    def even(side: float, count: int) -> Cells:
        """Return the `count` cells that divide `side` pixels evenly."""
        return Cells(side / count, (side / count / 2, side / count / 2))

    def shares(self, side: int) -> list[float]:
        """Return stride, row and column of the first center in shares of an image's `side` in pixels."""
        return [self.stride / side, self.first[0] / side, self.first[1] / side]

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) of a cell, as wide and high as the stride."""
        top, left = (
            first + number * self.stride - self.stride / 2
            for first, number in zip(self.first, (row, column), strict=True)
        )
        return left, top, left + self.stride, top + self.stride

    def nearest(self, place: tuple[float, float], shape: tuple[int, int]) -> tuple[int, int]:
        """Return which of `shape` (rows, columns) cells has its center nearest to a place, (row, column) in pixels."""
        row, column = (
            min(max(round((at - first) / self.stride), 0), count - 1)
            for at, first, count in zip(place, self.first, shape, strict=True)
        )
        return row, column

    def places(self, other: Cells, count: int, axis: int) -> np.ndarray:
        """Return where the centers (count,) of `count` other cells lie along an axis, in cells from the first of these.

        0 is the center of the first cell, 1 that of the second.
        """
        return (other.first[axis] - self.first[axis] + other.stride * np.arange(count)) / self.stride


def network_side(image_size: int) -> int:
    """Return the side in pixels at which a network looks at images for maps: the multiple of 32 nearest to it."""
    return max(1, (image_size + STRIDE // 2) // STRIDE) * STRIDE


def side_note(image_size: int) -> str | None:
    """Return a sentence on the side that is used where it is not the one asked for, else None."""
    side = network_side(image_size)
    if side == image_size:
        return None
    return (
        f"Images are compared at {side} px, the multiple of {STRIDE} nearest to the {image_size} px asked for, because "
        f"networks shift maps at other sizes; the maps are drawn at {image_size} px. Set `--image-size {side}` to ask "
        "for what is used."
    )


def reading_weights(places: np.ndarray, count: int, width: float = 1.0) -> np.ndarray:
    """Return the weights (N, count), float32, that read a row of `count` cells at `places` (N,), in cells.

    Up to a width of one cell: linear between centers. Wider: the mean of what lies within `width`. Beyond the outermost
    centers the row goes on as it is there.
    """
    away = np.clip(places, 0, count - 1)[:, None] - np.arange(count)
    if width <= 1:
        weights = np.clip(1 - np.abs(away), 0, None)
    else:
        weights = np.clip(np.minimum(width / 2, 0.5 - away) + np.minimum(width / 2, 0.5 + away), 0, 1)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def reading_matrices(
    cells: Cells, shape: tuple[int, int], wanted: Cells, number: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of rows (H, h) and columns (W, w) that read `shape` (h, w) cells at `number` (H, W) others."""
    rows, columns = (
        reading_weights(cells.places(wanted, number[axis], axis), shape[axis], wanted.stride / cells.stride)
        for axis in (0, 1)
    )
    return rows, columns


def read_maps(maps: np.ndarray, cells: Cells, wanted: Cells, number: tuple[int, int]) -> np.ndarray:
    """Return maps (B, h, w) of `cells` at the centers of `number` (rows, columns) of the cells `wanted`: float32."""
    rows, columns = reading_matrices(cells, (maps.shape[1], maps.shape[2]), wanted, number)
    return np.asarray(rows @ maps.astype(np.float32, copy=False) @ columns.T, np.float32)  # (B, *number)


def on_even_grid(levels: Sequence[np.ndarray], cells: Sequence[Cells], side: int) -> list[np.ndarray]:
    """Return the maps (B, h, w) of levels on the one grid (B, g, g) of the finest, whose rows divide `side` evenly."""
    rows, columns = max((level.shape[1], level.shape[2]) for level in levels)
    grid = Cells.even(side, rows)
    return [read_maps(level, own, grid, (rows, columns)) for level, own in zip(levels, cells, strict=True)]
