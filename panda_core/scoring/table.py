"""Scorers: from the features of normal images to an anomaly score. Higher is more anomalous, everywhere.

Adding one: a file with a class that has `fit` and `score`, and a line in `SCORERS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from panda_core.config import Option
from panda_core.errors import unknown_name
from panda_core.scoring.knn import KNNScorer
from panda_core.scoring.mahalanobis import MahalanobisScorer
from panda_core.scoring.means import KMeansScorer, MeanScorer
from panda_core.scoring.ocsvm import OneClassSVMScorer
from panda_core.scoring.relative_mahalanobis import BUNDLED, RelativeMahalanobisScorer


class Scorer(Protocol):
    """fit(features (N, D)) -> self; score(queries (M, D)) -> float32 (M,), higher = more anomalous."""

    def fit(self, features: np.ndarray) -> Scorer: ...

    def score(self, queries: np.ndarray) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class ScorerRow:
    """A row of `SCORERS`. build(seed=..., **options) -> an unfitted scorer.

    needs_background: whether it is built with a `MeasuredFrom` in place of its option `background`. positive: whether
    its scores are distances, never below 0.
    """

    title: str
    source: str
    build: Callable[..., Any]
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    needs_background: bool = False
    positive: bool = True


SCORERS: dict[str, ScorerRow] = {
    "knn": ScorerRow(
        "k nearest neighbours: sum of the squared distances",
        "PANDA, Sec. 3; released code",
        KNNScorer,
        {
            "k": Option(
                default=2,
                low=1,
                high=1000,
                help="how many nearest normal images count",
                plain="How many nearest normal training images count for the score.",
            )
        },
    ),
    "mean": ScorerRow("distance to the mean of the normal features", "PANDA, Sec. 4.2.3", MeanScorer),
    "kmeans": ScorerRow(
        "distance to the nearest of k means",
        "PANDA, Sec. 4.2.3",
        KMeansScorer,
        {
            "means": Option(
                default=10,
                low=1,
                high=1000,
                help="number of means fitted to the normal features",
                plain="How many group centers are fitted to the normal images.",
            )
        },
    ),
    "mahalanobis": ScorerRow(
        "Mahalanobis distance, covariance shrunk",
        "Ledoit & Wolf, J. Multivariate Analysis 2004",
        MahalanobisScorer,
    ),
    "relative-mahalanobis": ScorerRow(
        "Mahalanobis distance over that to images of anything",
        "Ren et al., arXiv:2106.09022, 2021",
        RelativeMahalanobisScorer,
        {
            "background": Option(
                default=BUNDLED,
                help="images of anything: bundled (of photographs of ImageNet, for the bundled networks where nothing "
                "is adapted), imagenet_sample, a folder, or the key of another data set",
                plain="Images of anything, with which normal ones are compared: *bundled* comes with the program, for "
                "its own networks where nothing is adapted; else *imagenet_sample* below the data folder, the path of "
                "a folder, or the name of another data set. No labels are needed.",
            )
        },
        needs_background=True,
    ),
    "ocsvm": ScorerRow(
        "one-class SVM: outside of a boundary around the normal features",
        "Schoelkopf et al., Neural Computation 2001; PANDA, Table 1",
        OneClassSVMScorer,
        {
            "svm_nu": Option(
                default=0.1,
                low=1e-3,
                high=1.0,
                help="largest share of normal images outside (nu)",
                plain="The largest share of the normal images that may lie outside of the boundary.",
            ),
            "svm_gamma": Option(
                default=0.0,
                low=0.0,
                high=1e6,
                help="width of the kernel (gamma); 0 is 1 / (dimensions x variance)",
                plain="How closely the boundary follows the normal images. 0 chooses it from their spread.",
            ),
            "svm_variance": Option(
                default=0.95,
                low=0.01,
                high=1.0,
                help="share of the variance whose principal components are kept",
                plain="The share of the variance that is kept before the boundary is drawn; 1 keeps all.",
            ),
            "svm_contrast": Option(
                default="no",
                choices=("no", "yes"),
                help="L1 contrast normalisation of each image's features first, made for pixels",
                plain="Whether brightness and contrast of each image are taken out first. Made for pixels.",
            ),
        },
        positive=False,
    ),
}


def find_scorer(key: str) -> ScorerRow:
    """Return the row called `key`; an unknown name raises `UsageError`."""
    if key not in SCORERS:
        raise unknown_name("scorer", key, SCORERS, "--scorer")
    return SCORERS[key]
