"""Metrics of scores and features. Everywhere: label 0 is normal, 1 anomalous; a higher score is more anomalous."""

from __future__ import annotations

import numpy as np

from panda_core.errors import UsageError
from panda_core.linalg import singular_values


def auroc(scores: np.ndarray, is_anomaly: np.ndarray) -> float | None:
    """Return P(score of an anomaly > score of a normal) + P(tie) / 2, or None if one of the two is absent.

    scores: (M,) finite; is_anomaly: (M,) of 0 and 1.
    """
    scores, positive = _checked(scores, is_anomaly)
    if positive.all() or not positive.any():
        return None
    return float(_auroc_of_counts(*_group(scores, positive), np.ones((1, len(scores)), np.int64))[0])


def auroc_interval(
    scores: np.ndarray, is_anomaly: np.ndarray, *, rng: np.random.Generator, resamples: int = 400
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % bootstrap interval of `auroc`: percentiles over images drawn anew within each label.

    Drawing within the labels keeps the number of normals fixed, so that no resample is undefined. None, None
    where the AUROC itself is undefined.
    """
    scores, positive = _checked(scores, is_anomaly)
    if positive.all() or not positive.any():
        return None, None
    counts = np.empty((resamples, len(scores)), np.int64)
    for label in (True, False):
        (members,) = np.nonzero(positive == label)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    low, high = np.percentile(_auroc_of_counts(*_group(scores, positive), counts), [2.5, 97.5])
    return float(low), float(high)


def _checked(scores: np.ndarray, is_anomaly: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, positive = np.asarray(scores, np.float64), np.asarray(is_anomaly).astype(bool)
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise UsageError(f"Scores and labels must be of one length; got shapes {scores.shape} and {positive.shape}.")
    if not np.isfinite(scores).all():
        raise UsageError(f"Scores must be finite; {np.count_nonzero(~np.isfinite(scores))} of {len(scores)} are not.")
    return scores, positive


def _group(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ascending order, the first place of each run of equal scores, and the labels in that order."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.concatenate([[0], 1 + np.nonzero(ordered[1:] != ordered[:-1])[0]])
    return order, starts, positive[order]


def _auroc_of_counts(order: np.ndarray, starts: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the AUROC of each row of counts (R, M): how often each image was drawn."""
    counts = counts[:, order]
    anomalous = np.add.reduceat(counts * positive, starts, axis=1)  # (R, distinct scores)
    normal = np.add.reduceat(counts * ~positive, starts, axis=1)
    below = np.cumsum(normal, axis=1) - normal
    wins = (anomalous * (below + normal / 2)).sum(axis=1)
    return wins / (anomalous.sum(axis=1) * normal.sum(axis=1))


def spectrum(features: np.ndarray) -> np.ndarray:
    """Return the singular values of the centered features (N, D), descending: (min(N, D),), in feature units.

    A value under the resolution of float32 is rounding noise of features that coincide, and is returned as 0.
    """
    values = singular_values(features)
    noise = np.finfo(np.float32).eps * np.linalg.norm(features)
    return np.where(values > noise, values, 0.0)


def effective_rank(singular_values: np.ndarray) -> float:
    """Return exp(entropy) of the singular values taken as a distribution: 1 for one direction, d for d equal ones.

    Roy & Vetterli, "The effective rank", EUSIPCO 2007. Scale-invariant. Features that are all the same point
    have no direction left: 0.
    """
    total = singular_values.sum()
    if not total > 0:
        return 0.0
    share = singular_values[singular_values > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))
