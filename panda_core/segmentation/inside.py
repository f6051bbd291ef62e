"""Patches and the region of interest: which cells of a map count, and what stands for those that do not.

A cell counts where its center lies in the region; of a region between all centers, the one nearest to its middle does.
Nothing is learned from other cells, and they have no part in a score or a unit. Where maps of several levels are
brought together, a cell that does not count has the distance of the nearest one that does: a defect at the rim of the
region is not blurred with what lies beyond it.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt

from panda_core.region import Region
from panda_core.segmentation.geometry import Cells
from panda_core.segmentation.maps import counted_places, rotated
from panda_core.segmentation.method import Compared


@dataclasses.dataclass(frozen=True)
class Inside:
    """Of a map's cells (h, w), which count, bool, and the number of the nearest that does, row by row."""

    counts: np.ndarray
    nearest: np.ndarray

    def filled(self, maps: np.ndarray) -> np.ndarray:
        """Return maps (B, h, w) in which each cell that does not count has the value of the nearest that does."""
        return maps.reshape(len(maps), -1)[:, self.nearest.ravel()].reshape(maps.shape)

    def mean(self, maps: np.ndarray) -> np.ndarray:
        """Return the mean (B,) of maps (B, h, w) over the cells that count."""
        return np.asarray(maps[:, self.counts].mean(axis=1))

    def alone(self, compared: Compared) -> Compared:
        """Return the same with a negative distance wherever a cell does not count: none is then the highest."""
        distances = np.where(self.counts[:, :, None], compared.distances, np.float32(-1))
        return dataclasses.replace(compared, distances=distances)


@lru_cache(maxsize=64)
def inside_of(region: Region, cells: Cells, side: int, shape: tuple[int, int]) -> Inside:
    """Return which of `shape` (rows, columns) cells of an image of `side` pixels count."""
    counts = counted_places(region, *_centers(cells, side, shape))
    rows, columns = distance_transform_edt(~counts, return_distances=False, return_indices=True)
    return Inside(counts, np.asarray(rows * shape[1] + columns, np.int64))


def counted_in_copies(region: Region, rotations: int, cells: Cells, side: int, shape: tuple[int, int]) -> np.ndarray:
    """Return which cells of each turned copy of an image count: bool (rotations, h, w); of a copy, none may."""
    turned = [turned_region(region, rotation, rotations) for rotation in range(1, rotations)]
    others = [one.at(*_centers(cells, side, shape)) for one in turned]
    return np.stack([inside_of(region, cells, side, shape).counts, *others])


@lru_cache(maxsize=16)
def turned_region(region: Region, rotation: int, rotations: int) -> Region:
    """Return the region of a copy that `rotated` has turned."""
    if rotation == 0:
        return region
    return Region(rotated(region.marked.astype(np.uint8) * 255, rotation, rotations) > 127)


def _centers(cells: Cells, side: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of rows (h,) and columns (w,) of cells, in shares of the image."""
    rows, columns = (
        (first + cells.stride * np.arange(count)) / side for first, count in zip(cells.first, shape, strict=True)
    )
    return rows, columns
