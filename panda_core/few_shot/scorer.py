"""A trained model with references of one class: maps and scores of images of that class, higher = more anomalous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.residuals import References, residual
from panda_core.segmentation.geometry import on_even_grid
from panda_core.segmentation.maps import merged, top_mean
from panda_core.segmentation.results import PatchResult

SHOWN = 3  # nearest reference patches that are kept for a person to look at
CEILING = 0.99  # quantile of normal log-likelihoods that counts as wholly normal


class ReferenceScorer:
    """Scores and maps that a `ResidualModel` gives with references. No image's score depends on another image."""

    def __init__(self, model: ResidualModel, references: References, options: Mapping[str, Any]) -> None:
        self.model, self.references, self.options, self.image_size = model, references, options, model.image_size

    def predict_maps(self, images: Sequence[np.ndarray]) -> PatchResult:
        """Return the result of decoded images (H, W, 3)."""
        return self.segment(self.model.features(images))

    @torch.inference_mode()
    def segment(self, features: Sequence[Tensor]) -> PatchResult:
        """Return maps and scores of features (B, h, w, C) for each level, and the nearest references behind them.

        A grid is 1 where a position is as unlikely as held-out positions of seen classes are on average.
        """
        maps, distances, origins = [], [], []
        for level, values in enumerate(features):
            nearest = self.references.nearest(level, values, SHOWN)
            matched = self.references.pools[level][nearest.rows]  # (B, h, w, k, C)
            left = residual(self.model.kind, values, matched[..., 0, :])
            anomaly = anomaly_map(self.model, level, *self.model.level_likelihoods(level, left))
            maps.append(anomaly.cpu().numpy())
            difference = values[..., None, :] - matched
            distances.append(_padded(difference.norm(dim=-1)).cpu().numpy())
            origins.append(_padded(self.references.origins(level, nearest.rows), -2).cpu().numpy().astype(np.int32))
        grids = self._merged(maps)
        scores = top_mean(grids, self.model.top)
        cells = np.array([cells.shares(self.model.side) for cells in self.model.cells])
        return PatchResult(grids, scores, grids.mean(axis=(1, 2)), tuple(distances), tuple(origins), cells)

    def _merged(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """Return one map (B, g, g), evenly over the image, of those (B, h, w) of all levels."""
        return merged(on_even_grid(maps, self.model.cells, self.model.side), [level.shape[1] for level in maps])

    @torch.inference_mode()
    def lengths(self, features: Sequence[Tensor]) -> np.ndarray:
        """Return scores (B,) from the lengths of residuals alone: what can be said without any training."""
        maps = []
        for level, values in enumerate(features):
            matched = self.references.pools[level][self.references.nearest(level, values).rows[..., 0]]
            unit = self.references.pools[level].norm(dim=1).mean()
            maps.append(((values - matched).norm(dim=-1) / unit).cpu().numpy())
        return top_mean(self._merged(maps), self.model.top)


def anomaly_map(model: ResidualModel, level: int, normal: Tensor, other: Tensor) -> Tensor:
    """Return how anomalous the positions of a level are: (B, h, w), from p_n and p_a (B, h, w).

    The released code takes 1 - exp(p_n - max p_n), the maximum over the whole test set, so that images are judged by
    one another; here the ceiling was measured on held-out images of seen classes, and what exceeds it is wholly
    normal. Squared form: the mean of that and of the probability to be abnormal.
    """
    measures = model.measured(level)
    value = 1 - (normal - measures.ceiling).clamp(max=0).exp()
    if model.kind == "squared":
        value = (value + torch.sigmoid(other - normal)) / 2
    return value / measures.unit


def calibrate(model: ResidualModel, features: Sequence[Tensor], references: Sequence[References]) -> None:
    """Measure ceilings and units on held-out normal images (B, h, w, C) of seen classes, each with its references."""
    for level, values in enumerate(features):
        normal, other = model.level_likelihoods(level, model.residuals_to(level, values, references))
        measures = model.measured(level)
        ordered = normal.flatten().sort().values
        measures.ceiling.copy_(ordered[int(CEILING * (len(ordered) - 1))])
        measures.unit.fill_(1.0)
        mean = float(anomaly_map(model, level, normal, other).cpu().numpy().mean())
        measures.unit.fill_(max(mean, 1e-6))


def _padded(values: Tensor, axis: int = -1) -> Tensor:
    """Return values with `SHOWN` entries along an axis: the last is repeated where references have fewer positions."""
    lacking = SHOWN - values.shape[axis]
    if lacking <= 0:
        return values
    return torch.cat([values, *[values.narrow(axis, values.shape[axis] - 1, 1)] * lacking], dim=axis)
