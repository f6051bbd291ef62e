"""What every way to compare patches has in common: how it is built, fitted and asked, saved and read back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from panda_core.events import Computing
from panda_core.linalg import Moments

# Of each group, which patches (N * rotations, g, g) lie in the region of interest, bool; None where all count.
Counted = Sequence[np.ndarray] | None


def counting(group: int, patches: np.ndarray, counted: Counted) -> np.ndarray:
    """Return the rows, ascending, of the patches (N, g, g, D) of a group, as a list of patches, that count."""
    return np.arange(patches[..., 0].size) if counted is None else np.flatnonzero(counted[group])


@dataclasses.dataclass(frozen=True)
class Compared:
    """Patches of a group of levels compared with normal ones.

    distances: (B, g, g, k), to the k nearest, ascending; k is 1 where nothing is nearest, but only a distance known.
    origins: (B, g, g, k, 4), where those lie: image, rotation, row, column; None where there are none.
    """

    distances: np.ndarray
    origins: np.ndarray | None


class PatchMethod(Protocol):
    """A way to compare patches (N, g, g, D) of some groups of levels with those of normal images.

    pools: whether it also needs one pooled feature of each image, (N, P), which is None for others.
    deepest: from how many of the deepest groups of levels an image's score comes; None: from all, as its map.
    streams: whether it learns from `Moments` of patches alone (`StreamedMethod`), so that no patches are kept.
    """

    pools: bool
    deepest: int | None
    streams: bool

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, seed: int, rotations: int) -> PatchMethod:
        """Return an unfitted one as the options of its row say. rotations: copies of each normal image, turned."""

    def fit(
        self,
        groups: Sequence[np.ndarray],
        images: np.ndarray,
        pooled: np.ndarray | None,
        counted: Counted = None,
    ) -> Computing[None]:
        """Learn from patches (N * rotations, g, g, D) of each group. images: (N,), the number of each image."""

    def compare(self, groups: Sequence[np.ndarray], pooled: np.ndarray | None) -> list[Compared]:
        """Return how far patches (B, g, g, D) of each group lie from normal ones."""

    def fused(self, levels: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
        """Return one map (B, g, g) of those of several groups, brought to one grid (B, g, g), each with its weight."""

    def image_scores(
        self, grids: np.ndarray, compared: Sequence[Compared], groups: Sequence[np.ndarray], pooled: np.ndarray | None
    ) -> np.ndarray:
        """Return the score (B,) of each image from the map (B, g, g) of its last groups, of which the rest is given.

        With a region of interest the map is (B, n), of the cells that count; distances of others are negative.
        """

    def width(self, group: int) -> int:
        """Return the number of features of a patch of a group."""

    @property
    def recall(self) -> float:
        """The smallest recall of its searches; 1 where all are exact."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what it learned, by name, for saving."""

    def load(self, tensors: Mapping[str, Tensor], groups: int) -> PatchMethod:
        """Take what `tensors()` returned."""


class StreamedMethod(PatchMethod, Protocol):
    """One that learns from moments of the patches of each group alone."""

    def fit_moments(self, groups: Sequence[Moments]) -> None:
        """Learn from the moments of the normal patches of each group."""
