"""Stop rules: how the scores of a run's checkpoints become one score for each image. No labels are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from panda_core.events import Evaluated
from panda_core.methods.alarm import ENDED, ROUNDING, SUFFERING, readings, told_best

SMALLEST_SPREAD = 1e-12  # relative to the largest s_t: below it a checkpoint has collapsed to a point


@dataclasses.dataclass(frozen=True)
class Chosen:
    """One score for each image, and where it comes from.

    scores: (M,), higher = more anomalous.
    checkpoint: (M,), row of the history that gave each score.
    """

    scores: np.ndarray
    checkpoint: np.ndarray


def end_reason(evaluated: Sequence[Evaluated], stop: str) -> str | None:
    """Return why a run with this stop rule ends at its last measurement, in a sentence; None where it goes on."""
    last = readings(evaluated)[-1]
    if last.state == ENDED:
        return (
            f"At step {last.step} normal images lie within {ROUNDING:,.0f} rounding errors of one another: "
            "from here on only rounding is left."
        )
    if stop == "alarm" and last.state == SUFFERING:
        return f"At step {last.step} the alarm says that detection suffers."
    return None


def used_checkpoints(evaluated: Sequence[Evaluated], stop: str, ses_start: object) -> list[Evaluated]:
    """Return those of a run's measurements, step 0 first, whose checkpoints its stop rule looks at.

    "last": the last. "ses": all but the unadapted one, which the paper does not mention, unless `ses_start` is
    "include" or there is no other. "alarm": the unadapted one, and that before the label-free alarm which told strange
    copies of normal images best. One whose numbers have ended takes no part, unless it is the first.
    """
    states = [reading.state for reading in readings(evaluated)]
    evaluated = [event for event, state in zip(evaluated, states, strict=True) if state != ENDED] or evaluated[:1]
    if stop == "alarm":
        best = told_best(evaluated)
        return [evaluated[0], evaluated[best]] if best else [evaluated[0]]
    if stop == "ses":
        return list(evaluated[1:] if ses_start != "include" and len(evaluated) > 1 else evaluated)
    return list(evaluated[-1:])


def aggregate(stop: str, history: np.ndarray, normalisers: np.ndarray) -> Chosen:
    """Return the score of each image that the stop rule makes of those of the checkpoints that take part.

    history: (T, M) scores; normalisers: (T,), what a normal image scores on average under checkpoint t.
    """
    if stop == "ses":
        return sample_wise(history, normalisers)
    if stop == "alarm":
        return mean_ratio(history, normalisers)
    return last_checkpoint(history)


def last_checkpoint(history: np.ndarray) -> Chosen:
    """Return the scores of the last checkpoint (PANDA-ES, EWC: a fixed number of steps). history: (T, M)."""
    return Chosen(history[-1], np.full(history.shape[1], len(history) - 1))


def sample_wise(history: np.ndarray, normalisers: np.ndarray) -> Chosen:
    """Return max_t score_t(x) / s_t for each image: sample-wise early stopping (PANDA-SES, Sec. 3 and App. D).

    history: (T, M) scores; normalisers: (T,) s_t, what a normal image scores on average under checkpoint t. A
    checkpoint whose s_t has vanished says nothing about any image and takes no part.
    """
    usable = _usable(normalisers)
    if not usable.any():
        return Chosen(np.zeros(history.shape[1], np.float32), np.zeros(history.shape[1], np.int64))
    ratios = np.where(usable[:, None], history / np.where(usable, normalisers, 1.0)[:, None], -np.inf)
    return Chosen(ratios.max(axis=0).astype(np.float32), ratios.argmax(axis=0))


def mean_ratio(history: np.ndarray, normalisers: np.ndarray) -> Chosen:
    """Return the mean over the checkpoints of score_t(x) / s_t: how the alarm combines unadapted and adapted network.

    Not in the paper. Where adapting helps, the adapted network decides, whose ratios spread wider; where it has already
    drawn anomalies in, the unadapted one still knows them. Arguments and vanished checkpoints as in `sample_wise`.
    """
    usable = _usable(normalisers)
    last = np.full(history.shape[1], len(history) - 1)
    if not usable.any():
        return Chosen(np.zeros(history.shape[1], np.float32), last)
    return Chosen((history[usable] / normalisers[usable, None]).mean(axis=0).astype(np.float32), last)


def _usable(normalisers: np.ndarray) -> np.ndarray:
    """Return which checkpoints (T,) still tell images apart at all."""
    largest = max(float(normalisers.max()), float(np.finfo(np.float32).tiny))
    return np.asarray(normalisers > SMALLEST_SPREAD * largest)
