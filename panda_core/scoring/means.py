"""Distance to the mean of the normal features, or to the nearest of k means (PANDA, Sec. 4.2.3)."""

from __future__ import annotations

import numpy as np

from panda_core.errors import UsageError
from panda_core.linalg import check_features


class MeanScorer:
    """Squared distance to the mean of the normal features; the paper does not say squared or not (same order)."""

    def __init__(self, *, seed: int = 0) -> None:
        pass

    def fit(self, features: np.ndarray) -> MeanScorer:
        self.mean_ = check_features(features).mean(axis=0)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        return np.square(check_features(queries) - self.mean_).sum(axis=1)


class KMeansScorer:
    """Squared distance to the nearest of 10 means; the paper gives neither initialisation nor seed (here k-means++)."""

    def __init__(self, *, seed: int = 0, means: int = 10) -> None:
        self.seed = seed
        self.means = means

    def fit(self, features: np.ndarray) -> KMeansScorer:
        from sklearn.cluster import KMeans

        features = check_features(features)
        if self.means > len(features):
            raise UsageError(
                f"`means` must be in [1, {len(features)}], the number of normal images; got {self.means}. "
                f"Set it with `--set means={min(10, len(features))}`."
            )
        self.means_ = KMeans(self.means, n_init=4, random_state=self.seed).fit(features).cluster_centers_
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        distances = [np.square(check_features(queries) - mean).sum(axis=1) for mean in self.means_]
        return np.min(distances, axis=0).astype(np.float32)
