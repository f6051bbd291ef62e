"""Which images are near to which, and how much of that is left later: what the label-free alarm watches."""

from __future__ import annotations

import numpy as np

from panda_core.scoring.knn import nearest


def neighbourhoods(features: np.ndarray) -> np.ndarray:
    """Return for features (n, D) the rows of the nearest third of the others, (n, k) int32, at least one."""
    k = min(max(1, round((len(features) - 1) / 3)), max(len(features) - 1, 0))
    _, rows = nearest(features, features, k + 1)
    others = rows != np.arange(len(features))[:, None]
    others[others.all(axis=1), -1] = False  # where images coincide, a row may not be its own nearest
    return rows[others].reshape(len(features), k).astype(np.int32)


def overlap(first: np.ndarray, now: np.ndarray) -> float:
    """Return how much two sets of neighbourhoods (n, k) have in common: 1 all, 0 as much as chance gives."""
    n, k = first.shape
    if k in (0, n - 1):
        return 1.0  # everybody is a neighbour
    members = np.zeros((2, n, n), bool)
    for place, rows in enumerate((first, now)):
        np.put_along_axis(members[place], rows, True, axis=1)
    chance = k / (n - 1)
    return float(((members[0] & members[1]).sum() / first.size - chance) / (1 - chance))
