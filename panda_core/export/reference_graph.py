"""A few-shot detector with its references as one graph: resized pixels in, anomaly scores and maps out."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.export.graph import DetectorGraph
from panda_core.export.map_graph import Fusing, drawing
from panda_core.export.patch_methods import BLOCK, merged, top_mean
from panda_core.few_shot.residuals import residual
from panda_core.few_shot.scorer import ReferenceScorer, anomaly_map


class HighestCosine(nn.Module):
    """Rows (M, D) -> (M, D): of a pool's rows (R, D), the first of the highest cosine, `BLOCK` of them at a time.

    The first, as in `References.nearest`: a feature of only zeros is as near to all, and they differ in length.
    """

    pool: Tensor
    directions: Tensor

    def __init__(self, pool: Tensor) -> None:
        super().__init__()
        self.register_buffer("pool", pool)
        self.register_buffer("directions", F.normalize(pool, dim=1))

    def forward(self, rows: Tensor) -> Tensor:
        starts = range(0, self.directions.shape[0], BLOCK)
        blocks = [self.directions[start : start + BLOCK] for start in starts]
        best = [(F.normalize(rows, dim=1) @ block.T).max(dim=1) for block in blocks]
        cosines = torch.stack([found.values for found in best], dim=1)  # (M, blocks)
        places = torch.stack([found.indices + number * BLOCK for number, found in enumerate(best)], dim=1)
        return self.pool[places.gather(1, cosines.argmax(dim=1, keepdim=True))[:, 0]]


class ReferenceGraph(DetectorGraph):
    """A model of residuals with its references: scores (B,) and maps (B, H, H), H the run's `image_size`."""

    outputs = ("scores", "maps")

    def __init__(self, scorer: ReferenceScorer) -> None:
        model = scorer.model
        super().__init__(model.side, dataclasses.replace(model.network.preprocessing, crop=1.0))
        self.model = model
        self.matched = nn.ModuleList(HighestCosine(pool) for pool in scorer.references.pools)
        self.fuse = Fusing(merged, model.sides, model.cells, model.side)
        self.draw = drawing(self.fuse.side, model.image_size, model.sigma)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        levels = []
        for level, features in enumerate(self.model.features_of(self.normalised(images))):
            matched = self.matched[level](features.flatten(0, 2)).reshape(features.shape)
            levels.append(self._map(level, residual(self.model.kind, features, matched)))
        grids = self.fuse(levels)
        return top_mean(grids, self.model.top), self.draw(grids)

    def _map(self, level: int, residuals: Tensor) -> Tensor:
        """Return the map (B, h, w) of the residuals (B, h, w, C) of a level."""
        constrained = self.model.constrained(level, self.model.scaled(level, residuals))
        codes = self.model.codes(level, residuals.shape[0])
        normal, other = self.model.likelihoods(level, constrained.flatten(0, 2), codes)
        shape = (-1, *residuals.shape[1:3])
        return anomaly_map(self.model, level, normal.reshape(shape), other.reshape(shape))
