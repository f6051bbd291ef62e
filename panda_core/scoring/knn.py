"""kNN scoring (PANDA, Sec. 3), with exact search by faiss."""

from __future__ import annotations

import numpy as np

from panda_core.errors import UsageError
from panda_core.linalg import center_of, check_features


def nearest(gallery: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances (M, k), ascending, and gallery indices (M, k) of the k nearest rows of the gallery.

    gallery: (N, D), queries: (M, D). Exact. Equal distances come in the gallery's order.
    """
    import faiss

    if not 1 <= k <= len(gallery):
        raise UsageError(
            f"`k` must be a whole number in [1, {len(gallery)}], the number of normal images; got {k}. "
            "Set it with `--set k=2`."
        )
    index = faiss.IndexFlatL2(gallery.shape[1])
    center = center_of(gallery)  # faiss finds large searches through a product
    index.add(gallery - center)
    distances, indices = index.search(queries - center, k)
    return distances, indices


class KNNScorer:
    """Sum of the squared distances to the k = 2 nearest normal features.

    Squared and summed as in the released code; the paper's text leaves both open. The order of images is that
    of the mean squared distance.
    """

    def __init__(self, *, seed: int = 0, k: int = 2) -> None:
        self.k = k

    def fit(self, features: np.ndarray) -> KNNScorer:
        self.gallery_ = check_features(features)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        distances, _ = nearest(self.gallery_, check_features(queries), self.k)
        # faiss finds ||a - b||^2 through a product and can land just under zero for equal vectors.
        return np.maximum(distances, 0).sum(axis=1)
