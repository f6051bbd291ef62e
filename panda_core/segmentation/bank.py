"""A bank of normal patches and the search for the nearest among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core.linalg import MORE, center_of, exact_index, nearest_of

SHOWN = 3  # nearest normal patches that are kept for a person to look at
RECALL_SAMPLE = 500


class Bank:
    """Patches of normal images, searched exactly with faiss, or approximately above `exact_rows`.

    features: (R, D).
    origins: (R, 4), image, rotation, row and column of each.
    recall: the share of sampled patches whose nearest neighbour the search finds; 1 where it is exact.
    """

    def __init__(self, features: np.ndarray, origins: np.ndarray, *, exact_rows: int, seed: int) -> None:
        self.features = np.ascontiguousarray(features, np.float32)
        self.origins = np.ascontiguousarray(origins, np.int32)
        self._center = center_of(self.features)  # faiss finds distances through a product
        self.recall = 1.0
        if len(features) > exact_rows:
            self._index = self._approximate(seed)
            self.recall = self._measured_recall(seed)
        else:
            self._index = self._exact()

    def nearest(self, patches: np.ndarray, k: int = SHOWN) -> tuple[np.ndarray, np.ndarray]:
        """Return Euclidean distances (..., k), ascending, and rows (..., k) of the bank for patches (..., D).

        faiss finds the rows, through products; their distances are then differences, or a patch that is in the bank,
        as of an even background, would lie as far from itself as rounding has it, in every batch and exported graph
        elsewhere. Of equal distances the lower row comes first. A bank of fewer than k patches gives its last neighbour
        repeatedly.
        """
        given = patches.reshape(-1, patches.shape[-1])
        flat = np.ascontiguousarray(given - self._center, np.float32)
        found = self._index.search(flat, min(k + MORE, len(self.features)))[1]
        lacking = (found < 0).any(axis=1)
        if lacking.any():  # the cells that were looked into hold fewer patches
            found[lacking] = self._exact().search(flat[lacking], found.shape[1])[1]
        squares, rows = nearest_of(given, self.features, found, k)
        missing = ((0, 0), (0, k - rows.shape[1]))
        squares, rows = np.pad(squares, missing, "edge"), np.pad(rows, missing, "edge")
        shape = (*patches.shape[:-1], k)
        return np.sqrt(squares).reshape(shape), rows.astype(np.int32).reshape(shape)

    def _exact(self) -> Any:
        return exact_index(self.features - self._center)

    def _approximate(self, seed: int) -> Any:
        """Return an index that looks into a sixteenth of 4 sqrt(R) cells, or fewer of 39 patches each (faiss: IVF)."""
        import faiss

        cells = max(1, min(int(4 * np.sqrt(len(self.features))), len(self.features) // 39))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(self.features.shape[1]), self.features.shape[1], cells)
        index.cp.seed = seed + 1
        centered = self.features - self._center
        index.train(centered)
        index.add(centered)
        index.nprobe = max(1, cells // 16)
        return index

    def _measured_recall(self, seed: int) -> float:
        """Return the share of patches, halfway between two random ones of the bank, whose nearest row is found."""
        rng = np.random.default_rng(seed)
        pairs = rng.integers(len(self.features), size=(2, RECALL_SAMPLE))
        between = (self.features[pairs[0]] + self.features[pairs[1]]) / 2 - self._center
        exact, approximate = (index.search(between, 1)[0] for index in (self._exact(), self._index))
        return float((approximate <= exact * (1 + 1e-5)).mean())

    def tensors(self) -> dict[str, Tensor]:
        """Return the bank by name, for saving."""
        return {"features": torch.from_numpy(self.features), "origins": torch.from_numpy(self.origins)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], *, exact_rows: int, seed: int) -> Bank:
        """Return the bank that `tensors()` describes."""
        return Bank(tensors["features"].numpy(), tensors["origins"].numpy(), exact_rows=exact_rows, seed=seed)


def origins_of(images: np.ndarray, rotations: int, side: tuple[int, int]) -> np.ndarray:
    """Return (image, rotation, row, column) of each patch of `rotations` copies of N images: (N rotations h w, 4)."""
    grid = np.indices((len(images), rotations, *side)).reshape(4, -1).T
    return np.column_stack([images[grid[:, 0]], grid[:, 1:]]).astype(np.int32)
