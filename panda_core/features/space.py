"""From cached activations through the tail to features, and the space in which they are compared.

Raw, of unit length, or whitened: loss and scores share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.events import Computing
from panda_core.features.trunk import activation_batch
from panda_core.linalg import center_of, principal_components, whitening

BATCH = 64  # larger batches fall out of the processor's cache and are slower on two cores
SMALLEST_VARIANCE = 1e-24  # features that are all one point have none at all, and must not become infinite


@dataclasses.dataclass(frozen=True)
class FeatureNorm:
    """A fixed, differentiable map of features (B, D) to the space of loss and scores (B, D').

    kind: `none`, as they are (the paper). `l2`, each level divided by its length; levels side by side. `whiten`, after
        `l2`, minus `mean`, times `projection`, both fixed from the unadapted training features: what was one unit of
        spread in any direction stays one unit for the whole adaptation, so collapse remains visible. `whiten-raw`, the
        same without `l2`, for patches alone.
    level_widths: features of each level, side by side; their sum is D.
    mean: (D,), of whitening.
    projection: (D, D'), of whitening.

    Whitening follows the paper's Sec. 4.2.2 with three choices it leaves open: features are of unit length first;
    each eigenvalue gets the mean eigenvalue added (a ridge: small directions are mostly noise); at most `dims`
    directions of largest variance are kept.
    """

    kind: str
    level_widths: tuple[int, ...]
    mean: Tensor | None = None
    projection: Tensor | None = None

    @staticmethod
    def fit(kind: str, features: Tensor, level_widths: tuple[int, ...], dims: int) -> FeatureNorm:
        """Return the norm for unadapted training features (N, D)."""
        if kind not in ("whiten", "whiten-raw"):
            return FeatureNorm(kind, level_widths)
        scaled = _scaled(kind, features, level_widths).numpy()
        variances, directions = principal_components(scaled)
        # The centered features of N images span N - 1 directions; the ridge is the mean over those.
        rank = min(len(scaled) - 1, scaled.shape[1])
        largest = min(rank, dims)
        ridge = variances.sum() / max(rank, 1)
        projection = whitening(variances[:largest] + ridge, directions[:, :largest], SMALLEST_VARIANCE)
        # In rows, as it is read back: in columns, some processors sum a product up in another order, and a run that is
        # resumed, or a detector that is loaded, would differ from the first one in the last digit.
        projection = np.ascontiguousarray(projection, np.float32)
        return FeatureNorm(kind, level_widths, torch.from_numpy(center_of(scaled)), torch.from_numpy(projection))

    def __call__(self, features: Tensor) -> Tensor:
        scaled = _scaled(self.kind, features, self.level_widths)
        if self.mean is None or self.projection is None:
            return scaled
        return (scaled - self.mean.to(scaled)) @ self.projection.to(scaled)

    def tensors(self) -> dict[str, Tensor]:
        """Return what was learned, by name, for saving; empty for `none` and `l2`."""
        learned = {"mean": self.mean, "projection": self.projection}
        return {name: value.contiguous() for name, value in learned.items() if value is not None}

    @staticmethod
    def from_tensors(kind: str, level_widths: tuple[int, ...], tensors: Mapping[str, Tensor]) -> FeatureNorm:
        """Return the norm that `tensors()` describes."""
        return FeatureNorm(kind, level_widths, tensors.get("mean"), tensors.get("projection"))


def _scaled(kind: str, features: Tensor, level_widths: tuple[int, ...]) -> Tensor:
    """Return features (B, D) as they are, or with each level of unit L2 length, as `kind` has it."""
    if kind in ("none", "whiten-raw"):
        return features
    return torch.cat([F.normalize(level, dim=1) for level in features.split(list(level_widths), dim=1)], dim=1)


def tail_features(
    tail: nn.Module, values: np.ndarray, device: torch.device, *, batch: int = BATCH
) -> Computing[Tensor]:
    """Return the tail's features (N, D) of cached activations (N, C, h, w), on the CPU; yield before every batch."""
    features = []
    for start in range(0, len(values), batch):
        yield None
        rows = np.arange(start, min(start + batch, len(values)))
        with torch.no_grad():
            features.append(tail(activation_batch(values, rows, device)).cpu())
    return torch.cat(features)


def space_features(
    tail: nn.Module, norm: FeatureNorm, values: np.ndarray, device: torch.device, *, batch: int = BATCH
) -> Computing[np.ndarray]:
    """Return features in the space of loss and scores: float32 (N, D'). As `tail_features`."""
    features = yield from tail_features(tail, values, device, batch=batch)
    with torch.no_grad():
        return norm(features).numpy()
