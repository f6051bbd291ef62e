"""Distance to the mean (PANDA, Sec. 4.2.3)."""

from __future__ import annotations

import numpy as np

from panda_core.scoring.gallery import checked


class MeanScorer:
    """Squared distance to the mean of the normal features; the paper does not say squared or not (same order)."""

    def __init__(self, *, seed: int = 0) -> None:
        pass

    def fit(self, features: np.ndarray) -> MeanScorer:
        self.mean_ = checked(features).mean(axis=0)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        return np.square(checked(queries) - self.mean_).sum(axis=1)
