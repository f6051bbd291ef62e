"""SubspaceAD: what the principal subspace of normal patches leaves over (Lendering, Akdag & Bondarev, CVPR 2026).

The directions in which normal patches vary most are kept, as many as hold a share of their variance; a patch scores
the square of what it has outside of them, an image the mean of the highest hundredth of its patches. Deviations: the
paper has DINOv2-G with registers at 672 pixels, 30 random rotations of one to four images, and the mean of several
layers' features (`merge=mean`, for networks whose levels are equally wide); here any network sees images squeezed
into 224 pixels, turns are even parts of a circle, and levels have a subspace and a map each, unless another merge is
set. Patches are of unit length, unless another space is set: raw ones, as in the paper, reach an AUPRO of 68.7 instead
of 73.7 and an image AUROC of 96.1 instead of 97.2 on defects drawn on solar cells (100 to learn from, seed 0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core.events import Computing
from panda_core.linalg import Moments
from panda_core.segmentation.maps import merged, top_mean
from panda_core.segmentation.method import Compared, Counted, counting


def residuals(patches: Tensor, mean: Tensor, directions: Tensor) -> Tensor:
    """Return the square (...) of what patches (..., D), minus `mean` (D,), have outside of `directions` (D, K)."""
    centered = patches - mean
    return (centered - (centered @ directions) @ directions.T).square().sum(dim=-1)


class Subspace:
    """The mean (D,) and the principal directions (D, K) of the normal patches of each group of levels."""

    pools = False
    deepest = None
    streams = True
    recall = 1.0  # nothing is searched
    fused = staticmethod(merged)  # how the maps of several groups become one

    def __init__(self, *, variance: float, top: float) -> None:
        self.variance, self.top = variance, top
        self.means: list[Tensor] = []
        self.directions: list[Tensor] = []

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, seed: int, rotations: int) -> Subspace:
        """Return an unfitted one as the options of its row say; turned copies are images like others."""
        return cls(variance=float(options["variance"]), top=float(options["top"]))

    def fit(
        self,
        groups: Sequence[np.ndarray],
        images: np.ndarray,
        pooled: np.ndarray | None,
        counted: Counted = None,
    ) -> Computing[None]:
        """Learn from patches (N, g, g, D) of each group."""
        yield None
        seen = [Moments(patches.shape[-1]) for patches in groups]
        for group, (moments, patches) in enumerate(zip(seen, groups, strict=True)):
            moments.add(patches.reshape(-1, patches.shape[-1])[counting(group, patches, counted)])
        self.fit_moments(seen)

    def fit_moments(self, groups: Sequence[Moments]) -> None:
        """Learn from the moments of the normal patches of each group.

        At least one direction is kept and one left out: where all of them are kept nothing would be left over.
        """
        self.means, self.directions = [], []
        for moments in groups:
            variances, directions = moments.principal_components()
            lacking = int(np.count_nonzero(np.cumsum(variances) < self.variance * variances.sum()))
            kept = max(1, min(lacking + 1, len(variances) - 1))
            self.means.append(torch.from_numpy(moments.mean.astype(np.float32)))
            self.directions.append(torch.from_numpy(np.ascontiguousarray(directions[:, :kept], np.float32)))

    def compare(self, groups: Sequence[np.ndarray], pooled: np.ndarray | None) -> list[Compared]:
        """Return what patches (B, g, g, D) of each group have outside of its subspace."""
        return [
            Compared(residuals(torch.from_numpy(patches), mean, directions)[..., None].numpy(), None)
            for patches, mean, directions in zip(groups, self.means, self.directions, strict=True)
        ]

    def image_scores(
        self, grids: np.ndarray, compared: Sequence[Compared], groups: Sequence[np.ndarray], pooled: np.ndarray | None
    ) -> np.ndarray:
        """Return the score (B,) of each image from its map (B, g, g): the mean of the highest `top` of it."""
        return top_mean(grids, self.top)

    def width(self, group: int) -> int:
        """Return the number of features of a patch of a group."""
        return len(self.means[group])

    def tensors(self) -> dict[str, Tensor]:
        """Return means and directions by name, for saving."""
        means = {f"{group}.mean": mean for group, mean in enumerate(self.means)}
        return {**means, **{f"{group}.directions": values for group, values in enumerate(self.directions)}}

    def load(self, tensors: Mapping[str, Tensor], groups: int) -> Subspace:
        """Take what `tensors()` returned."""
        self.means = [tensors[f"{group}.mean"] for group in range(groups)]
        self.directions = [tensors[f"{group}.directions"] for group in range(groups)]
        return self


METHOD = Subspace
