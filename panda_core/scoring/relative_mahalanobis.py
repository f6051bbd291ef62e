"""Mahalanobis distance to the normal images, in units of that to images of anything else.

Ren, Fort, Liu, Roy, Padhy & Lakshminarayanan, "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
arXiv:2106.09022, 2021: what is far from everything is no news. Theirs is the difference of the two distances, for
classes that share one covariance, and the background is all training data of a classifier. Here it is their ratio,
which has the order of log d2(x; normal) - log d2(x; background) and stays positive, as stop rules that divide scores
need it; one normal class with a covariance of its own; and other, unlabelled images as background. Both are shrunk.

Where most of the background's own images are nearer to it than the typical normal image, how far an image is from it
tells nothing, and the ratio costs up to two points (BENCHMARKS, `background`). There every image counts as equally far,
which is the order of `mahalanobis`; at the line between, both give the same scale.
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

    @property
    def far(self) -> float:
        """The squared distance within which most of its own images lie."""

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the squared distances (N,) of features (N, D) to it."""


class RelativeMahalanobisScorer:
    """d2(x; normal images) / d2(x; background), higher = more anomalous; over `far` where normal images lie farther."""

    def __init__(self, *, background: MeasuredFrom, seed: int = 0) -> None:
        self.background = background

    def fit(self, features: np.ndarray) -> RelativeMahalanobisScorer:
        self.normal_ = MahalanobisScorer().fit(features)
        self.near_ = bool(np.median(self.background.distances(check_features(features))) <= self.background.far)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        queries = check_features(queries)
        distances = self.background.distances(queries) if self.near_ else np.full(len(queries), self.background.far)
        distances = np.maximum(distances, SMALLEST)
        return (self.normal_.score(queries) / distances).astype(np.float32)
