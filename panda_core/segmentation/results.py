"""What a model that compares patches takes and gives: the patches of some images, and what it says of these images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Patches:
    """Patches of some images, raw. groups: (B, g, g, D) for each group of levels. pooled: (B, P), or None.

    counted: of each group, which lie in the region of interest, bool (B, g, g); None where all count.
    """

    groups: list[np.ndarray]
    pooled: np.ndarray | None
    counted: list[np.ndarray] | None = None

    def rows(self, rows: np.ndarray) -> Patches:
        """Return those of the images at `rows`."""
        return Patches(
            [group[rows] for group in self.groups],
            None if self.pooled is None else self.pooled[rows],
            None if self.counted is None else [counts[rows] for counts in self.counted],
        )

    def listed(self, group: int) -> np.ndarray:
        """Return those of a group that count, in a row: (M, 1, 1, D); where all count, they are as they are."""
        patches = self.groups[group]
        return patches if self.counted is None else patches[self.counted[group]][:, None, None]

    @staticmethod
    def joined(batches: Sequence[Patches]) -> Patches:
        """Return the patches of all batches, in order."""
        groups = [np.concatenate(same) for same in zip(*(batch.groups for batch in batches), strict=True)]
        pooled = [batch.pooled for batch in batches if batch.pooled is not None]
        counted = [batch.counted for batch in batches if batch.counted is not None]
        return Patches(
            groups,
            np.concatenate(pooled) if pooled else None,
            [np.concatenate(same) for same in zip(*counted, strict=True)] if counted else None,
        )


@dataclasses.dataclass(frozen=True)
class PatchResult:
    """What a model says of B images. Higher = more anomalous.

    grids: (B, g, g), evenly over the image; 1 is as far from normal patches as held-out normal ones lie on average. 0
        where nothing counts, outside of the region of interest.
    scores: (B,), from the deepest groups of levels, see `PatchMethod.deepest`.
    whole: (B,), the mean over all patches of these groups.
    distances: for each group, (B, h, w, k) to the nearest normal patches; empty where the method knows none.
    origins: for each group, (B, h, w, k, 4), image, rotation, row and column of those; empty likewise.
    cells: (groups, 3), where the patches of each group lie, see `Cells.shares`; (0, 3) likewise.
    """

    grids: np.ndarray
    scores: np.ndarray
    whole: np.ndarray
    distances: tuple[np.ndarray, ...]
    origins: tuple[np.ndarray, ...]
    cells: np.ndarray

    @staticmethod
    def joined(results: Sequence[PatchResult]) -> PatchResult:
        """Return the results of several batches as one."""
        groups = range(len(results[0].distances))
        return PatchResult(
            np.concatenate([result.grids for result in results]),
            np.concatenate([result.scores for result in results]),
            np.concatenate([result.whole for result in results]),
            tuple(np.concatenate([result.distances[group] for result in results]) for group in groups),
            tuple(np.concatenate([result.origins[group] for result in results]) for group in groups),
            results[0].cells,
        )

    def row(self, row: int) -> PatchResult:
        """Return the result of one image, as of a batch of one."""
        one = slice(row, row + 1)
        distances, origins = (tuple(group[one] for group in groups) for groups in (self.distances, self.origins))
        return PatchResult(self.grids[one], self.scores[one], self.whole[one], distances, origins, self.cells)


def as_arrays(groups: Sequence[Tensor], pooled: Tensor | None) -> Patches:
    """Return patches (B, g, g, D) of each group, and pooled features (B, P), as arrays."""
    found = [group.float().cpu().contiguous().numpy() for group in groups]
    return Patches(found, None if pooled is None else pooled.float().cpu().numpy())
