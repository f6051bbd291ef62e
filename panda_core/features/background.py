"""How images of anything look to a network, as a Gaussian: what `relative-mahalanobis` compares normal images with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from panda_core.features.joined import JoinedNorm
from panda_core.features.space import FeatureNorm
from panda_core.linalg import principal_components

# Directions that a background is told apart by; the rest of its variance counts as the ridge alone. On CIFAR-10 64, 128
# and 256 give the same AUROC to 0.1, and all 999 of 1,000 images 0.1 less.
KEPT = 64
# A normal image is far from the background if so many of the background's own images are nearer. Than the median image
# of CIFAR-10's classes, where a background helps, 0.10 to 0.44 are nearer; than that of kinds of photographs in their
# full size, where it does not, 0.74 to 0.89; of white blood cells, solar cells, tiles and digits 0.90 and more.
NEARER = 0.75


def condensed(features: Tensor) -> Tensor:
    """Return features (K + 1, D), K at most `KEPT`, of images that never were, in place of those (N, D) of images.

    They have the mean of those, and their covariance along its K directions of largest variance: row i is the mean plus
    sqrt(K + 1) sum_k c_ik sqrt(v_k) u_k, with the variances v and directions u, and c the columns of the cosine
    transform but the first: orthonormal, and of mean 0.
    """
    rows = features.numpy()
    variances, directions = principal_components(rows)
    kept = max(1, min(KEPT, len(rows) - 1, rows.shape[1]))
    places = np.pi * (np.arange(kept + 1)[:, None] + 0.5) / (kept + 1)
    cosines = np.sqrt(2) * np.cos(places * np.arange(1, kept + 1))  # (K + 1, K), by sqrt(K + 1) from orthonormal
    moved = cosines @ (np.sqrt(np.maximum(variances[:kept], 0))[:, None] * directions[:, :kept].T)
    return torch.from_numpy((rows.mean(axis=0, dtype=np.float64) + moved).astype(np.float32))


@dataclasses.dataclass(frozen=True)
class Background:
    """Squared Mahalanobis distances to the background, of features in the space of a run.

    norm: to that space. around: whitens by the background. It is fitted where features are scaled but not whitened by
    the normal images: there its ridge means the same for every normal class, and AUROC on CIFAR-10 is 0.5 higher. far:
    see `far_of`.
    """

    norm: FeatureNorm
    around: FeatureNorm
    far: float

    @staticmethod
    def fit(norm: FeatureNorm, rows: Tensor, far: float) -> Background:
        """Return the background of condensed features (K + 1, D), in no space yet."""
        return Background(norm, _around(rows, norm.kind, norm.level_widths), far)

    def __call__(self, features: Tensor) -> Tensor:
        """Return float64 distances (B,) of features (B, D')."""
        return self.around.placed(self.norm.inverse(features.double())).square().sum(dim=1)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the same of an array."""
        return self(torch.from_numpy(features)).numpy()


def backgrounds_in(norm: JoinedNorm, rows: Tensor, far: Sequence[float]) -> list[Background]:
    """Return the background of each network of a space, of condensed features (K + 1, D) of all, in no space yet."""
    shares = rows.split([sum(part.level_widths) for part in norm.parts], dim=1)
    return [Background.fit(part, share, line) for part, share, line in zip(norm.parts, shares, far, strict=True)]


def far_of(features: Tensor, kind: str, level_widths: tuple[int, ...]) -> float:
    """Return the distance within which `NEARER` of a background's own images (N, D), N at least 4, lie.

    Each half is measured from the other: images that the Gaussian was fitted to would lie nearer than others.
    """
    halves = features[::2], features[1::2]
    distances = [
        _around(condensed(one), kind, level_widths)(other).double().square().sum(dim=1)
        for one, other in (halves, halves[::-1])
    ]
    return float(np.float32(np.quantile(torch.cat(distances).numpy(), NEARER)))  # as it is saved


def _around(rows: Tensor, kind: str, level_widths: tuple[int, ...]) -> FeatureNorm:
    """Return the norm that whitens by rows (N, D), scaled as the space of kind `kind` has it."""
    return FeatureNorm.fit("whiten-raw" if kind in ("none", "whiten-raw") else "whiten", rows, level_widths, KEPT)
