"""AnomalyDINO: the nearest patch of a few turned references, on one late level (Damm et al., WACV 2025).

Distances are cosine distances of raw features; an image scores the mean of the highest hundredth of its patches (the
paper's Sec. 3.1, there called the empirical tail value at risk). Deviations: any network's deepest level, where the
paper has DINOv2's last layer; images are squeezed into a square of 224 pixels, unless another size is set, where the
paper keeps the aspect at 448 or 672; no background is masked, since the mask of the paper, a threshold on the first
principal component, is made for DINOv2 and switched on object by object; a bank has a largest size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.events import Computing
from panda_core.segmentation.bank import SHOWN, origins_of
from panda_core.segmentation.maps import merged, top_mean
from panda_core.segmentation.method import Compared, Counted, counting

TOGETHER = 3000  # patches, about, that are compared at once: their cosines with 50,000 others take 600 MB


def cosine_distances(patches: Tensor, references: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return cosine distances (..., k), ascending, of patches (..., D) to the k nearest references, and their rows.

    references: (R, D), of unit length. A distance is 1 minus the cosine, in [0, 2]; it is found as |a - b|^2 / 2, which
    keeps its digits where a and b are close.
    """
    patches = F.normalize(patches, dim=-1)
    rows = (patches @ references.T).topk(k, dim=-1).indices  # (..., k)
    distances = (patches.unsqueeze(-2) - references[rows]).square().sum(dim=-1) / 2
    distances, order = distances.sort(dim=-1, stable=True)  # rounding orders cosines otherwise
    return distances, rows.gather(-1, order)


def _nearest(patches: Tensor, references: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `cosine_distances`, of the patches (h, w, D) of an image, whose cosines with all would not fit at once."""
    some_rows = patches.split(max(1, TOGETHER // patches.shape[1]))
    found = [cosine_distances(rows, references, k) for rows in some_rows]
    distances, rows = (torch.cat(part) for part in zip(*found, strict=True))
    return distances, rows


class AnomalyDino:
    """Patches (N * rotations, g, g, D) of normal images, of unit length, for each group of levels."""

    pools = False
    deepest = None
    streams = False
    recall = 1.0  # all searches are exact
    fused = staticmethod(merged)  # how the maps of several groups become one

    def __init__(self, *, seed: int, bank_rows: int, top: float, rotations: int) -> None:
        self.seed, self.bank_rows, self.top, self.rotations = seed, bank_rows, top, rotations
        self.references: list[Tensor] = []  # of each group (R, D)
        self.origins: list[np.ndarray] = []  # (R, 4)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, seed: int, rotations: int) -> AnomalyDino:
        """Return an unfitted one as the options of its row say."""
        return cls(seed=seed, bank_rows=int(options["bank_rows"]), top=float(options["top"]), rotations=rotations)

    def fit(
        self,
        groups: Sequence[np.ndarray],
        images: np.ndarray,
        pooled: np.ndarray | None,
        counted: Counted = None,
    ) -> Computing[None]:
        """Learn from patches (N * rotations, g, g, D) of each group; images (N,): the number of each image.

        The paper keeps all patches; of more than `bank_rows`, so many are drawn at random.
        """
        self.references, self.origins = [], []
        for group, patches in enumerate(groups):
            yield None
            flat = patches.reshape(-1, patches.shape[-1])
            rows = counting(group, patches, counted)
            if len(rows) > self.bank_rows:
                rng = np.random.default_rng([self.seed, 5, group])
                rows = np.sort(rng.choice(rows, self.bank_rows, replace=False))
            self.references.append(F.normalize(torch.from_numpy(flat[rows]), dim=-1))
            self.origins.append(origins_of(images, self.rotations, (patches.shape[1], patches.shape[2]))[rows])

    def compare(self, groups: Sequence[np.ndarray], pooled: np.ndarray | None) -> list[Compared]:
        """Return how far patches (B, g, g, D) of each group lie from the nearest of its references."""
        compared = []
        for references, origins, patches in zip(self.references, self.origins, groups, strict=True):
            k = min(SHOWN, len(references))
            found = [_nearest(torch.from_numpy(image), references, k) for image in patches]  # one after another
            distances, rows = (torch.stack(part).numpy() for part in zip(*found, strict=True))  # (B, g, g, k)
            missing = [(0, 0)] * 3 + [(0, SHOWN - k)]  # the last neighbour again
            distances, rows = np.pad(distances, missing, "edge"), np.pad(rows, missing, "edge")
            compared.append(Compared(distances, origins[rows]))
        return compared

    def image_scores(
        self, grids: np.ndarray, compared: Sequence[Compared], groups: Sequence[np.ndarray], pooled: np.ndarray | None
    ) -> np.ndarray:
        """Return the score (B,) of each image from its map (B, g, g): the mean of the highest `top` of it."""
        return top_mean(grids, self.top)

    def width(self, group: int) -> int:
        """Return the number of features of a patch of a group."""
        return int(self.references[group].shape[1])

    def tensors(self) -> dict[str, Tensor]:
        """Return the references by name, for saving."""
        features = {f"{group}.features": rows for group, rows in enumerate(self.references)}
        return {**features, **{f"{group}.origins": torch.from_numpy(rows) for group, rows in enumerate(self.origins)}}

    def load(self, tensors: Mapping[str, Tensor], groups: int) -> AnomalyDino:
        """Take the references from what `tensors()` returned."""
        self.references = [tensors[f"{group}.features"] for group in range(groups)]
        self.origins = [tensors[f"{group}.origins"].numpy() for group in range(groups)]
        return self


METHOD = AnomalyDino
