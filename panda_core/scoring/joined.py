"""One score of several networks: the mean of what each of them gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from panda_core.linalg import check_features


class JoinedScorer:
    """The geometric mean of the scores of several networks, each from its own features; higher = more anomalous.

    Geometric, so that no network needs a unit: a factor of one of them changes no order. On CIFAR-10 it gives 1.1 ± 0.3
    AUROC points more than one network (BENCHMARKS, `networks`). A score that may be negative has no such mean, and is
    averaged as it is.

    scorers: one for each network. widths: of its features, side by side. positive: whether scores are distances.
    """

    def __init__(self, scorers: Sequence[Any], widths: Sequence[int], *, positive: bool) -> None:
        self.scorers, self.widths, self.positive = scorers, widths, positive

    def fit(self, features: np.ndarray) -> JoinedScorer:
        for scorer, share in zip(self.scorers, self._shares(features), strict=True):
            scorer.fit(share)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        shares = self._shares(queries)
        scores = np.stack([scorer.score(share) for scorer, share in zip(self.scorers, shares, strict=True)])
        scores = scores.astype(np.float64)  # the product of several is out of the range of float32
        mean = np.prod(scores, axis=0) ** (1 / len(scores)) if self.positive else scores.mean(axis=0)
        return mean.astype(np.float32)

    def _shares(self, features: np.ndarray) -> list[np.ndarray]:
        """Return the features (N, D) of each network."""
        shares = np.split(check_features(features), np.cumsum(self.widths)[:-1], axis=1)
        return [np.ascontiguousarray(share) for share in shares]
