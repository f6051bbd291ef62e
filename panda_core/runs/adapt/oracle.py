"""The one-class SVM as PANDA's authors report it: the best of a grid of settings, chosen with the labels of the test.

That is an oracle, and no method: nobody who looks for anomalies has those labels. It stands beside the scores of the
fixed setting under names that say so, and changes none of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from panda_core.events import CacheProgress, Computing
from panda_core.linalg import squared_distances
from panda_core.metrics import auroc

# PANDA, App. B
NUS = tuple(tenth / 10 for tenth in range(1, 10))
GAMMAS = tuple(2.0**power for power in range(-7, 3))


def oracle_grid(features: np.ndarray, queries: np.ndarray, is_anomaly: np.ndarray) -> Computing[dict[str, Any]]:
    """Yield progress; return the best AUROC that any nu and gamma give, by metric; None without both kinds of image.

    features: (N, D) of normal images, queries: (M, D) with the labels is_anomaly (M,), 1 anomalous. Of equal AUROCs the
    first counts: the smallest gamma, then the smallest nu.
    """
    from sklearn.svm import OneClassSVM

    # A kernel handed over is computed once for nine values of nu; the scorer's own would be computed for each.
    near, far = squared_distances(features, features), squared_distances(queries, features)
    best: tuple[float, float, float] | None = None
    total = len(GAMMAS) * len(NUS)
    for number, (gamma, nu) in enumerate((gamma, nu) for gamma in GAMMAS for nu in NUS):
        yield None
        if number % len(NUS) == 0:
            yield CacheProgress(split="oracle grid", done=number, total=total)
            kernel, query_kernel = np.exp(-gamma * near), np.exp(-gamma * far)
        fitted = OneClassSVM(kernel="precomputed", nu=nu).fit(kernel)
        found = auroc(-fitted.decision_function(query_kernel), is_anomaly)
        if found is not None and (best is None or found > best[0]):
            best = (found, gamma, nu)
    yield CacheProgress(split="oracle grid", done=total, total=total)
    names = ("oracle_grid_auroc", "oracle_grid_gamma", "oracle_grid_nu")
    return dict(zip(names, best or (None, None, None), strict=True))
