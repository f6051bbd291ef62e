"""What an adaptation says when it ends: the scores of its stop rule, and the metrics of its last event.

Labels meet scores here, to measure, and nowhere decide anything. What was chosen with them is called `oracle_*`. For
the one-class SVM, PANDA's authors report the best of a grid of settings, chosen with the labels of the test; that is
an oracle, and no method: it stands beside the scores of the fixed setting and changes none of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from panda_core.events import CacheProgress, Computing
from panda_core.linalg import squared_distances
from panda_core.methods.alarm import ENDED, ROUNDING, SUFFERING, readings
from panda_core.methods.stopping import aggregate, end_reason, used_checkpoints
from panda_core.metrics import auroc, auroc_interval
from panda_core.records import write_json
from panda_core.runs.adapt.settings import AdaptPlan
from panda_core.runs.arrays import FinalArrays
from panda_core.runs.calibration import Calibration, calibrated, warning_of
from panda_core.runs.folder import FINAL, GALLERIES, RunFolder
from panda_core.runs.settings import Plan

if TYPE_CHECKING:
    from panda_core.runs.adapt.evaluate import Measured
    from panda_core.runs.adapt.inputs import Inputs

_OF = ("normal", "anomalous")  # by label
# PANDA, App. B
NUS = tuple(tenth / 10 for tenth in range(1, 10))
GAMMAS = tuple(2.0**power for power in range(-7, 3))


@dataclasses.dataclass(frozen=True)
class Final:
    """What the stop rule made of all checkpoints. steps_used: all that it could choose from."""

    arrays: FinalArrays
    steps_used: tuple[int, ...]
    calibration: Calibration

    def save(self, folder: RunFolder, plan: Plan) -> None:
        """Write the final scores and the calibration; galleries that no detector needs are removed."""
        self.arrays.write(folder.arrays_file(FINAL))
        write_json(folder.calibration_file, self.calibration.to_json())
        folder.keep_only(GALLERIES, self.steps_used)


def final_scores(plan: AdaptPlan, history: list[Measured]) -> Final:
    """Return what the recipe's stop rule makes of all checkpoints."""
    events = [measured.event for measured in history]
    steps_used = {event.step for event in used_checkpoints(events, plan.recipe.stop, plan.config.set.get("ses_start"))}
    used = [measured for measured in history if measured.step in steps_used]
    scores = np.stack([measured.arrays.scores for measured in used])  # (T, M)
    held_out = np.stack([measured.arrays.held_out_scores for measured in used])  # (T, H)
    normalisers = np.array([measured.arrays.normaliser for measured in used])
    steps = np.array([measured.step for measured in used])
    chosen, known = (aggregate(plan.recipe.stop, rows, normalisers) for rows in (scores, held_out))
    calibration = calibrated(known.scores, warning_of(known.scores.size, str(plan.option("calibrate_on"))))
    arrays = FinalArrays(scores=chosen.scores, step=steps[chosen.checkpoint], held_out_scores=known.scores)
    return Final(arrays, tuple(int(step) for step in steps), calibration)


def final_metrics(plan: AdaptPlan, inputs: Inputs, history: list[Measured], final: Final) -> dict[str, Any]:
    """Return the metrics of `RunFinished`. `oracle_*` is the best step chosen with test labels, which no rule may do.

    `stop_step` is the step that gave the scores; with sample-wise stopping, the median over the test images.
    `alarm_step` is the first at which the label-free alarm said that detection suffers, `rounding_step` the first
    whose `rounding_margin` lay under `rounding_line`. `end_reason` says in a sentence why a run ended before its last
    step; None where it did not.
    """
    events = [measured.event for measured in history]
    states = {reading.step: reading.state for reading in readings(events)}
    rng = np.random.default_rng([plan.config.seed, 3])
    low, high = auroc_interval(final.arrays.scores, inputs.is_anomaly, rng=rng)
    curve = [(measured.event.auroc, -measured.step) for measured in history if measured.event.auroc is not None]
    oracle_auroc, oracle_step = max(curve) if curve else (None, None)
    return {
        "auroc": auroc(final.arrays.scores, inputs.is_anomaly),
        "auroc_low": low,
        "auroc_high": high,
        "unadapted_auroc": history[0].event.auroc,
        "whitened_auroc": history[0].event.whitened_auroc,
        "stop_step": int(np.median(final.arrays.step)) if len(final.arrays.step) else history[-1].step,
        "alarm_step": next((step for step, state in states.items() if state == SUFFERING), None),
        "rounding_step": next((step for step, state in states.items() if state == ENDED), None),
        "rounding_line": ROUNDING,
        "end_reason": end_reason(events, plan.recipe.stop) if history[-1].step < int(plan.config.steps or 0) else None,
        "oracle_auroc": oracle_auroc,
        "oracle_step": None if oracle_step is None else -oracle_step,
        "score_threshold": final.calibration.threshold(),
        "calibration": final.calibration.summary(),
        "train_images": len(inputs.train.values),
        "held_out_images": len(inputs.calibration_rows),
        "test_images": len(inputs.is_anomaly),
        "skipped_images": len(inputs.train.skipped) + len(inputs.test.skipped),
    }


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
        value = auroc(-fitted.decision_function(query_kernel), is_anomaly)
        if value is not None and (best is None or value > best[0]):
            best = (value, gamma, nu)
    yield CacheProgress(split="oracle grid", done=total, total=total)
    names = ("oracle_grid_auroc", "oracle_grid_gamma", "oracle_grid_nu")
    return dict(zip(names, best or (None, None, None), strict=True))


@dataclasses.dataclass(frozen=True)
class Answered:
    """How often one question is answered right, as shares; None where there is no such image."""

    question: str
    normal: float | None
    anomalous: float | None


def accuracies(answers: Mapping[str, np.ndarray], is_anomaly: np.ndarray) -> dict[str, float | None]:
    """Return the metrics "normal_QUESTION_accuracy" and "anomalous_...": means of answers (M,) over images of a label.

    is_anomaly: (M,), 1 anomalous. None where there is no image of a label.
    """
    return {
        f"{kind}_{question}_accuracy": float(shares[is_anomaly == label].mean())
        if (is_anomaly == label).any()
        else None
        for question, shares in answers.items()
        for label, kind in enumerate(_OF)
    }


def answered(metrics: Mapping[str, Any]) -> list[Answered]:
    """Return what `accuracies` put into a run's metrics, a row for each question; most runs have none."""
    first, last = f"{_OF[0]}_", "_accuracy"
    names = [key[len(first) : -len(last)] for key in metrics if key.startswith(first) and key.endswith(last)]
    return [Answered(name, *(metrics.get(f"{kind}_{name}{last}") for kind in _OF)) for name in names]
