"""Stop rules: how the scores of a run's checkpoints become one score for each image. No labels are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

SMALLEST_SPREAD = 1e-12  # relative to the first checkpoint's: below it a checkpoint has collapsed to a point


@dataclasses.dataclass(frozen=True)
class Chosen:
    """scores: (M,), higher = more anomalous. checkpoint: (M,) row of the history that gave each score."""

    scores: np.ndarray
    checkpoint: np.ndarray


def taking_part(checkpoints: Sequence[Any], stop: str, ses_start: object) -> list[Any]:
    """Return those of a run's checkpoints, step 0 first, that its stop rule looks at.

    "last": the last. "ses": all but the unadapted one, which the paper does not mention, unless `ses_start` is
    "include" or there is no other.
    """
    if stop != "ses":
        return list(checkpoints[-1:])
    return list(checkpoints[1:] if ses_start != "include" and len(checkpoints) > 1 else checkpoints)


def last_checkpoint(history: np.ndarray) -> Chosen:
    """Return the scores of the last checkpoint (PANDA-ES, EWC: a fixed number of steps). history: (T, M)."""
    return Chosen(history[-1], np.full(history.shape[1], len(history) - 1))


def sample_wise(history: np.ndarray, normalisers: np.ndarray) -> Chosen:
    """Return max_t score_t(x) / s_t for each image: sample-wise early stopping (PANDA-SES, Sec. 3 and App. D).

    history: (T, M) scores; normalisers: (T,) s_t, what a normal image scores on average under checkpoint t. A
    checkpoint whose s_t has vanished says nothing about any image and takes no part.
    """
    largest = max(float(normalisers.max()), float(np.finfo(np.float32).tiny))
    usable = normalisers > SMALLEST_SPREAD * largest
    if not usable.any():
        return Chosen(np.zeros(history.shape[1], np.float32), np.zeros(history.shape[1], np.int64))
    ratios = np.where(usable[:, None], history / np.where(usable, normalisers, 1.0)[:, None], -np.inf)
    return Chosen(ratios.max(axis=0).astype(np.float32), ratios.argmax(axis=0))
