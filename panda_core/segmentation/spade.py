"""SPADE: the nearest normal images first, then the nearest of their patches (Cohen & Hoshen 2020).

As the released code, and unlike the text, every level gives a map of its own and the maps are averaged. All patches
of the retrieved images are searched; the released code drops those beyond a multiple of 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core.events import Computing
from panda_core.segmentation.bank import SHOWN, Bank, origins_of
from panda_core.segmentation.maps import merged
from panda_core.segmentation.method import Compared, Counted


class Spade:
    """All patches (N, g, g, D) of the normal images, and one pooled feature (N, P) of each."""

    pools = True
    deepest = 2  # fine levels mistake texture for defects
    streams = False
    recall = 1.0  # all searches are exact
    fused = staticmethod(merged)  # how the maps of several groups become one

    def __init__(self, *, seed: int, nearest_images: int) -> None:
        self.seed, self.nearest_images = seed, nearest_images

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, seed: int, rotations: int) -> Spade:
        """Return an unfitted one as the options of its row say; it knows no turned copies."""
        return cls(seed=seed, nearest_images=int(options["nearest_images"]))

    def fit(
        self,
        groups: Sequence[np.ndarray],
        images: np.ndarray,
        pooled: np.ndarray | None,
        counted: Counted = None,
    ) -> Computing[None]:
        """Learn from patches of each group, the number of each image (N,) and pooled features (N, P)."""
        yield None  # all of it is short: nothing is chosen, everything is kept
        if pooled is None:
            raise ValueError("SPADE needs pooled features.")
        # Without turned copies, the same patches count in all images.
        all_of_them = [np.ones(patches.shape[1:3], bool) for patches in groups]
        self._keep(groups, images, pooled, all_of_them if counted is None else [mask[0] for mask in counted])

    def _keep(
        self, groups: Sequence[np.ndarray], images: np.ndarray, pooled: np.ndarray, counted: Sequence[np.ndarray]
    ) -> None:
        self.counted_ = list(counted)  # of each group (g, g), bool
        self.groups_, self.images_ = [np.ascontiguousarray(patches, np.float32) for patches in groups], images
        self.pooled_ = Bank(pooled, np.zeros((len(pooled), 4)), exact_rows=len(pooled), seed=self.seed)

    def compare(self, groups: Sequence[np.ndarray], pooled: np.ndarray | None) -> list[Compared]:
        """Return how far patches (B, g, g, D) of each group lie from those of the nearest images."""
        _, retrieved = self._retrieve(pooled)
        compared = []
        for stored, counts, patches in zip(self.groups_, self.counted_, groups, strict=True):
            side = (patches.shape[1], patches.shape[2])
            distances = np.empty((*patches.shape[:3], SHOWN), np.float32)
            origins = np.empty((*patches.shape[:3], SHOWN, 4), np.int32)
            for image, rows in enumerate(retrieved):
                flat, known = stored[rows].reshape(-1, stored.shape[-1]), np.tile(counts.ravel(), len(rows))
                places = origins_of(self.images_[rows], 1, side)
                bank = Bank(flat[known], places[known], exact_rows=len(flat), seed=self.seed)
                distances[image], nearest = bank.nearest(patches[image])
                origins[image] = bank.origins[nearest]
            compared.append(Compared(distances, origins))
        return compared

    def width(self, group: int) -> int:
        """Return the number of features of a patch of a group."""
        return int(self.groups_[group].shape[-1])

    def image_scores(
        self, grids: np.ndarray, compared: Sequence[Compared], groups: Sequence[np.ndarray], pooled: np.ndarray | None
    ) -> np.ndarray:
        """Return the mean distance (B,) of each image's pooled feature to its nearest normal images."""
        return self._retrieve(pooled)[0].mean(axis=1)

    def _retrieve(self, pooled: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        if pooled is None:
            raise ValueError("SPADE needs pooled features.")
        return self.pooled_.nearest(pooled, min(self.nearest_images, len(self.images_)))

    def tensors(self) -> dict[str, Tensor]:
        """Return patches, image numbers and pooled features by name, for saving."""
        stored = {f"{group}.patches": torch.from_numpy(patches) for group, patches in enumerate(self.groups_)}
        counted = {f"{group}.counted": torch.from_numpy(counts) for group, counts in enumerate(self.counted_)}
        known = {"images": torch.from_numpy(self.images_), "pooled": torch.from_numpy(self.pooled_.features)}
        return {**stored, **({} if all(counts.all() for counts in self.counted_) else counted), **known}

    def load(self, tensors: Mapping[str, Tensor], groups: int) -> Spade:
        """Take what `tensors()` returned."""
        stored = [tensors[f"{group}.patches"].numpy() for group in range(groups)]
        counted = [
            tensors[f"{group}.counted"].numpy() if f"{group}.counted" in tensors else np.ones(patches.shape[1:3], bool)
            for group, patches in enumerate(stored)
        ]
        self._keep(stored, tensors["images"].numpy(), tensors["pooled"].numpy(), counted)
        return self


METHOD = Spade
