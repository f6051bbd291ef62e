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

from panda_core.backbones import Preprocessing
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
def inside_of(region: Region, cells: Cells, extents: tuple[int, int], shape: tuple[int, ...]) -> Inside:
    """Return which of `shape` (rows, columns) cells of an image, `extents` (height, width) in pixels, count."""
    counts = counted_places(region, *_centers(cells, extents, shape))
    rows, columns = distance_transform_edt(~counts, return_distances=False, return_indices=True)
    return Inside(counts, np.asarray(rows * shape[1] + columns, np.int64))


def counted_in_copies(
    region: Region,
    rotations: int,
    cells: Cells,
    extents: tuple[int, int],
    shape: tuple[int, ...],
    turned_back: bool = False,
) -> np.ndarray:
    """Return which cells of each turned copy of an image count: bool (rotations, h, w); of a copy, none may.

    turned_back: whether the cells of a copy turned by a quarter, or three, lie where they were before.
    """
    turned = [
        region
        if turned_back and 4 * rotation % rotations == 0 and 4 * rotation // rotations % 2
        else turned_region(region, rotation, rotations)
        for rotation in range(1, rotations)
    ]
    others = [one.at(*_centers(cells, extents, shape)) for one in turned]
    return np.stack([inside_of(region, cells, extents, shape).counts, *others])


def turned_view(preprocessing: Preprocessing, rotation: int, rotations: int) -> Preprocessing:
    """Return how a copy that `rotated` has turned becomes the network's input: its region is turned, if it has one."""
    if preprocessing.region is None:
        return preprocessing
    return dataclasses.replace(preprocessing, region=turned_region(preprocessing.region, rotation, rotations))


@lru_cache(maxsize=16)
def turned_region(region: Region, rotation: int, rotations: int) -> Region:
    """Return the region of a copy that `rotated` has turned."""
    if rotation == 0:
        return region
    return Region(rotated(region.marked.astype(np.uint8) * 255, rotation, rotations) > 127)


def _centers(cells: Cells, extents: tuple[int, int], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers of rows (h,) and columns (w,) of cells, in shares of the image."""
    rows, columns = (
        (first + cells.stride * np.arange(count)) / extent
        for first, count, extent in zip(cells.first, shape, extents, strict=True)
    )
    return rows, columns
