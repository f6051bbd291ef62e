"""kNN scoring (PANDA, Sec. 3), with exact search by faiss."""

from __future__ import annotations

import numpy as np

from panda_core.errors import UsageError
from panda_core.linalg import MORE, center_of, check_features, exact_index, nearest_of


def nearest(gallery: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances (M, k), ascending, and gallery indices (M, k) of the k nearest rows of the gallery.

    gallery: (N, D), queries: (M, D), float32. Exact: products find neighbours, differences their distances.
    Equal distances come in the gallery's order.
    """
    if not 1 <= k <= len(gallery):
        raise UsageError(
            f"`k` must be a whole number in [1, {len(gallery)}], the number of normal images; got {k}. "
            "Set it with `--set k=2`."
        )
    center = center_of(gallery)
    found = exact_index(gallery - center).search(queries - center, min(k + MORE, len(gallery)))[1]
    return nearest_of(queries, gallery, found, k)


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
        return nearest(self.gallery_, check_features(queries), self.k)[0].sum(axis=1)
