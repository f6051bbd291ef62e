"""PatchCore: one bank of normal patches for each group of levels (Roth et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from panda_core.events import Computing
from panda_core.segmentation.bank import Bank, origins_of
from panda_core.segmentation.coreset import k_centers
from panda_core.segmentation.maps import agreed, top_mean
from panda_core.segmentation.method import Compared, Counted, counting


class PatchCore:
    """Banks of patches (N, g, g, D), one for each group, thinned by greedy k-center selection."""

    pools = False
    deepest = 2  # fine levels mistake texture for defects
    streams = False
    fused = staticmethod(agreed)  # how the maps of several groups become one

    def __init__(
        self,
        *,
        seed: int,
        coreset: float,
        bank_rows: int,
        candidates: int,
        exact_rows: int,
        top: float,
        reweight: int,
        rotations: int,
    ) -> None:
        self.seed, self.coreset, self.bank_rows, self.candidates = seed, coreset, bank_rows, candidates
        self.exact_rows, self.top, self.reweight, self.rotations = exact_rows, top, reweight, rotations
        self.banks: list[Bank] = []

    @classmethod
    def from_options(cls, options: Mapping[str, Any], *, seed: int, rotations: int) -> PatchCore:
        """Return an unfitted one as the options of its row say."""
        return cls(
            seed=seed,
            coreset=float(options["coreset"]),
            bank_rows=int(options["bank_rows"]),
            candidates=int(options["candidates"]),
            exact_rows=int(options["exact_rows"]),
            top=float(options["top"]),
            reweight=int(options["reweight"]),
            rotations=rotations,
        )

    def fit(
        self,
        groups: Sequence[np.ndarray],
        images: np.ndarray,
        pooled: np.ndarray | None,
        counted: Counted = None,
    ) -> Computing[None]:
        """Learn from patches (N * rotations, g, g, D) of each group; images (N,): the number of each image.

        The share `coreset` of all patches is kept, at most `bank_rows`, chosen among at most `candidates` drawn at
        random. The paper chooses among all, which takes longer in proportion.
        """
        self.banks = []
        for group, patches in enumerate(groups):
            rng = np.random.default_rng([self.seed, 5, group])
            flat = patches.reshape(-1, patches.shape[-1])
            drawn = counting(group, patches, counted)
            count = min(self.bank_rows, max(1, round(self.coreset * len(drawn))))
            if len(drawn) > max(count, self.candidates):
                drawn = np.sort(rng.choice(drawn, max(count, self.candidates), replace=False))
            chosen = yield from k_centers(flat[drawn], count, rng=rng)
            rows = drawn[chosen]
            origins = origins_of(images, self.rotations, (patches.shape[1], patches.shape[2]))[rows]
            self.banks.append(Bank(flat[rows], origins, exact_rows=self.exact_rows, seed=self.seed))

    def compare(self, groups: Sequence[np.ndarray], pooled: np.ndarray | None) -> list[Compared]:
        """Return how far patches (B, g, g, D) of each group lie from its bank."""
        compared = []
        for bank, patches in zip(self.banks, groups, strict=True):
            distances, rows = bank.nearest(patches)
            compared.append(Compared(distances, bank.origins[rows]))
        return compared

    def image_scores(
        self, grids: np.ndarray, compared: Sequence[Compared], groups: Sequence[np.ndarray], pooled: np.ndarray | None
    ) -> np.ndarray:
        """Return the score (B,) of each image from the map (B, g, g) of its last groups, of which the rest is given.

        The paper takes the highest patch (`top` 0); its re-weighting multiplies that by 1 - exp(d*) / sum exp(d) over
        the `reweight` normal patches nearest to the nearest one (Eq. 7), here of the first of them.
        """
        scores = top_mean(grids, self.top)
        if self.reweight < 2:
            return scores
        bank, factors = self.banks[-len(groups)], np.empty(len(grids), np.float32)
        for image, patches in enumerate(groups[0]):
            highest = np.unravel_index(compared[0].distances[image, ..., 0].argmax(), patches.shape[:2])
            patch = patches[highest]
            _, row = bank.nearest(patch[None], 1)
            _, around = bank.nearest(bank.features[row[0]], self.reweight)
            distances = np.linalg.norm(bank.features[around[0]] - patch, axis=1)
            shares = np.exp(distances - distances.max())
            factors[image] = 1 - shares[distances.argmin()] / shares.sum()
        return scores * factors

    def width(self, group: int) -> int:
        """Return the number of features of a patch of a group."""
        return int(self.banks[group].features.shape[1])

    @property
    def recall(self) -> float:
        """The smallest recall of the searches; 1 where all are exact."""
        return min(bank.recall for bank in self.banks)

    def tensors(self) -> dict[str, Tensor]:
        """Return the banks by name, for saving."""
        return {
            f"{group}.{name}": value for group, bank in enumerate(self.banks) for name, value in bank.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor], groups: int) -> PatchCore:
        """Take the banks from what `tensors()` returned."""
        self.banks = [
            Bank.from_tensors(
                {name: tensors[f"{group}.{name}"] for name in ("features", "origins")},
                exact_rows=self.exact_rows,
                seed=self.seed,
            )
            for group in range(groups)
        ]
        return self


METHOD = PatchCore
