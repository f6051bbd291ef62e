"""From cached activations through the tail to features, and the space in which they are compared.

Raw, of unit length, or whitened: loss and scores share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.events import Computing
from panda_core.features.trunk import Activations, activation_batch
from panda_core.linalg import center_of, inverse_roots, principal_components

DEVICE_BATCH = 256  # on a GPU: of a ResNet-152's tail at 224 px about 6 GB without gradients
BATCH = 64  # larger batches fall out of the processor's cache and are slower on two cores
RIDGE = 0.3  # of the mean variance, among 0.1, 0.3 and 1; chosen on the curves of BENCHMARKS.md, "space"
LEARNED = ("mean", "directions", "factors", "rest")
SMALLEST_VARIANCE = 1e-24  # features that are all one point have none at all, and must not become infinite


@dataclasses.dataclass(frozen=True)
class FeatureNorm:
    """A fixed, differentiable map of features (B, D) to the space of loss and scores (B, D').

    kind: `none`, as they are (the paper). `l2`, each level divided by its length; levels side by side. `whiten`, after
        `l2`, minus `mean`, whitened, both fixed from the unadapted training features: what was one unit of spread in
        any direction stays one unit for the whole adaptation, so collapse remains visible. `whiten-raw`, the same
        without `l2`, for patches alone.
    level_widths: features of each level, side by side; their sum is D.
    mean: (D,), of whitening.
    directions: (D, K), orthonormal: those in which the training features are known to vary.
    factors: (K,), by which each of them is multiplied.
    rest: (1,), by which everything outside of these directions is multiplied; None where they span all D.

    Whitening follows the paper's Sec. 4.2.2 with three choices it leaves open. Features are of unit length first. Each
    eigenvalue gets a ridge, `RIDGE` times the mean over the directions that N images can span: small directions are
    mostly noise.
    N images say nothing of what lies outside of those directions, or, of many, of the `dims` largest: there the
    variance counts as the ridge alone. Nothing is left out, since anomalies differ mostly where normal images do not.
    With `rest`, D' is D and the map is symmetric (ZCA); where the directions span all, D' = K = D along them (PCA).
    """

    kind: str
    level_widths: tuple[int, ...]
    mean: Tensor | None = None
    directions: Tensor | None = None
    factors: Tensor | None = None
    rest: Tensor | None = None

    @staticmethod
    def fit(kind: str, features: Tensor, level_widths: tuple[int, ...], dims: int, ridge: float = RIDGE) -> FeatureNorm:
        """Return the norm for unadapted training features (N, D). dims: largest K. ridge: in mean variances."""
        if kind not in ("whiten", "whiten-raw"):
            return FeatureNorm(kind, level_widths)
        scaled = _scaled(kind, features, level_widths).numpy()
        variances, directions = principal_components(scaled)
        # The centered features of N images span N - 1 directions.
        rank = max(1, min(len(scaled) - 1, scaled.shape[1]))
        floor = ridge * variances.sum() / rank
        known = min(rank, dims)
        factors = inverse_roots(variances[:known] + floor, SMALLEST_VARIANCE)
        rest = None if known == scaled.shape[1] else inverse_roots(np.array([floor]), SMALLEST_VARIANCE)
        # In rows, as they are read back: in columns, some processors sum a product up in another order, and a run that
        # is resumed, or a detector that is loaded, would differ from the first one in the last digit.
        return FeatureNorm(
            kind,
            level_widths,
            torch.from_numpy(center_of(scaled)),
            torch.from_numpy(np.ascontiguousarray(directions[:, :known], np.float32)),
            torch.from_numpy(factors.astype(np.float32)),
            None if rest is None else torch.from_numpy(rest.astype(np.float32)),
        )

    @property
    def width(self) -> int:
        """D', the width of the space."""
        return sum(self.level_widths) if self.directions is None or self.rest is not None else self.directions.shape[1]

    def __call__(self, features: Tensor) -> Tensor:
        """Return features (B, D) in the space: (B, D'), in float32 at least."""
        if features.dtype == torch.bfloat16:
            features = features.float()
        return self.placed(_scaled(self.kind, features, self.level_widths))

    def placed(self, scaled: Tensor) -> Tensor:
        """Return features (B, D) that are scaled already, as `kind` has it, in the space: (B, D')."""
        if self.mean is None or self.directions is None or self.factors is None:
            return scaled
        centered, directions = scaled - self.mean.to(scaled), self.directions.to(scaled)
        factors = self.factors.to(scaled)
        if self.rest is None:
            return centered @ (directions * factors)
        rest = self.rest.to(scaled)
        return centered * rest + ((centered @ directions) * (factors - rest)) @ directions.T

    def inverse(self, features: Tensor) -> Tensor:
        """Return the scaled features (B, D) that `placed` takes to `features` (B, D')."""
        if self.mean is None or self.directions is None or self.factors is None:
            return features
        directions, factors, mean = (one.to(features) for one in (self.directions, self.factors, self.mean))
        if self.rest is None:
            return (features / factors) @ directions.T + mean
        rest = self.rest.to(features)
        return features / rest + ((features @ directions) * (1 / factors - 1 / rest)) @ directions.T + mean

    def tensors(self) -> dict[str, Tensor]:
        """Return what was learned, by name, for saving; empty for `none` and `l2`."""
        learned = {name: getattr(self, name) for name in LEARNED}
        return {name: value.contiguous() for name, value in learned.items() if value is not None}

    @staticmethod
    def from_tensors(kind: str, level_widths: tuple[int, ...], tensors: Mapping[str, Tensor]) -> FeatureNorm:
        """Return the norm that `tensors()` describes."""
        if "projection" in tensors:  # of runs made before directions had their factors beside them
            directions = tensors["projection"]
            return FeatureNorm(kind, level_widths, tensors["mean"], directions, torch.ones(directions.shape[1]))
        return FeatureNorm(kind, level_widths, **{name: tensors.get(name) for name in LEARNED})


def _scaled(kind: str, features: Tensor, level_widths: tuple[int, ...]) -> Tensor:
    """Return features (B, D) as they are, or with each level of unit L2 length, as `kind` has it."""
    if kind in ("none", "whiten-raw"):
        return features
    return torch.cat([F.normalize(level, dim=1) for level in features.split(list(level_widths), dim=1)], dim=1)


def tail_features(
    tail: nn.Module, values: Activations, device: torch.device, *, batch: int | None = None
) -> Computing[Tensor]:
    """Return the tail's features (N, D) of cached activations (N, ...), on the CPU; yield before every batch."""
    features = []
    batch = batch or (BATCH if device.type == "cpu" else DEVICE_BATCH)
    for start in range(0, len(values), batch):
        yield None
        rows = np.arange(start, min(start + batch, len(values)))
        with torch.no_grad():
            features.append(tail(activation_batch(values, rows, device)).cpu())
    return torch.cat(features)


def space_features(
    tail: nn.Module,
    norm: Callable[[Tensor], Tensor],
    values: Activations,
    device: torch.device,
    *,
    batch: int | None = None,
) -> Computing[np.ndarray]:
    """Return features in the space of loss and scores: float32 (N, D'). As `tail_features`."""
    features = yield from tail_features(tail, values, device, batch=batch)
    with torch.no_grad():
        return norm(features).numpy()
