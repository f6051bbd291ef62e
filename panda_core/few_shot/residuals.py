"""What is left of a feature when the nearest reference is taken away: it varies less between classes than features do.

ResAD (Yao et al., NeurIPS 2024), feature converter. The nearest reference is the one of the highest cosine, anywhere in
the reference images; what is subtracted is that reference as it is, with its length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.errors import UsageError

RESIDUALS = ("signed", "squared", "none")


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest references of the positions of one level.

    rows: (B, h, w, k) of the level's pool, nearest first. cosines: (B, h, w, k), descending.
    """

    rows: Tensor
    cosines: Tensor


class References:
    """Features of the reference images of one class: for each level all positions of all images, (K h w, C)."""

    def __init__(self, levels: Sequence[Tensor]) -> None:
        """levels: (K, h, w, C) for each level, of K reference images."""
        if not levels or not len(levels[0]):
            raise UsageError("At least 1 reference image is needed; got none. Give normal images of the new class.")
        self.images = len(levels[0])
        self.sides = [(level.shape[1], level.shape[2]) for level in levels]
        self.pools = [level.reshape(-1, level.shape[-1]) for level in levels]
        self._directions = [F.normalize(pool, dim=1) for pool in self.pools]

    def nearest(self, level: int, features: Tensor, k: int = 1) -> Nearest:
        """Return the k references of the highest cosine for features (B, h, w, C); fewer if the pool is smaller."""
        directions = self._directions[level]
        rows, cosines = [], []
        for image in features:  # one image at a time: all pairs of a batch would take gigabytes
            pairs = F.normalize(image, dim=-1) @ directions.T  # (h, w, R)
            best = []
            for _ in range(min(k, len(directions))):  # for few k several times faster than `topk`
                best.append(pairs.max(dim=-1, keepdim=True))
                pairs.scatter_(-1, best[-1].indices, -torch.inf)
            rows.append(torch.cat([one.indices for one in best], dim=-1))
            cosines.append(torch.cat([one.values for one in best], dim=-1))
        return Nearest(torch.stack(rows), torch.stack(cosines))

    def origins(self, level: int, rows: Tensor) -> Tensor:
        """Return (image, turn, row, column) of rows (...) of a level's pool: (..., 4). References are never turned."""
        high, wide = self.sides[level]
        image, place = rows // (high * wide), rows % (high * wide)
        return torch.stack([image, torch.zeros_like(image), place // wide, place % wide], dim=-1)

    def without(self, image: int) -> References:
        """Return all references but those of one image."""
        others = [row for row in range(self.images) if row != image]
        shaped = (
            pool.reshape(self.images, *side, -1)[others] for pool, side in zip(self.pools, self.sides, strict=True)
        )
        return References(list(shaped))


def residual(kind: str, features: Tensor, matched: Tensor | None) -> Tensor:
    """Return the residuals (..., C) of features (..., C) to their matched references (..., C).

    signed: f - f*, as in the paper. squared: (f - f*)^2, element by element, as the released code of ResAD++ has it.
    none: the features themselves, for comparison; nothing is matched.
    """
    if kind == "none" or matched is None:
        return features
    difference = features - matched
    return difference.square() if kind == "squared" else difference
