"""Mahalanobis distance to the normal images, in units of that to images of anything else.

Ren, Fort, Liu, Roy, Padhy & Lakshminarayanan, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
arXiv:2106.09022, 2021: what is far from everything is no news. Theirs is the difference of the two distances, for
classes that share one covariance, and the background is all training data of a classifier. Here it is their ratio,
which has the order of log d2(x; normal) - log d2(x; background) and stays positive, as stop rules that divide scores
need it; one normal class with a covariance of its own; and other, unlabelled images as background. Both are shrunk.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from panda_core.linalg import check_features
from panda_core.scoring.mahalanobis import MahalanobisScorer

BUNDLED = "bundled"  # the background that comes with the program, in place of images
SMALLEST = 1e-12  # an image that lies on the background's mean must not become infinitely anomalous


class MeasuredFrom(Protocol):
    """A background, in the space of the features that are compared."""

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the squared distances (N,) of features (N, D) to it."""


class RelativeMahalanobisScorer:
    """d2(x; normal images) / d2(x; background), higher = more anomalous."""

    def __init__(self, *, background: MeasuredFrom, seed: int = 0) -> None:
        self.background = background

    def fit(self, features: np.ndarray) -> RelativeMahalanobisScorer:
        self.normal_ = MahalanobisScorer().fit(features)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        queries = check_features(queries)
        distances = np.maximum(self.background.distances(queries), SMALLEST)
        return (self.normal_.score(queries) / distances).astype(np.float32)
