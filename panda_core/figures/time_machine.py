"""A whole run as numbers for one scrubber: every panel at every measured step, on axes fixed for the whole run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from panda_core.errors import UsageError
from panda_core.figures import style
from panda_core.figures.curve import Curve
from panda_core.figures.curves import WHITENED_LINE, auroc_range
from panda_core.runs.calibration import typical_score

MOST_STEPS = 61  # so many snapshots at most: more are no smoother to look at, and longer to load
MOST_POINTS = 160  # of each group in the cloud
DIRECTIONS = 24  # bars of the spectrum
TWELVE = 12
ROOM = 1.06


@dataclasses.dataclass(frozen=True)
class Moment:
    """What was measured at one step.

    train (N, 2), test (M, 2): features in two directions fixed at step 0, the center at (0, 0). scores (M,);
    held_out (H,): scores of held-out normal images. singular_values (K,) of the training features, largest first.
    threshold: the score above which an image is rejected, or None. rejected (M,): whether each test image is.
    refit_train (N, 2), refit_test (M, 2): the same features in the two directions of largest variance at this very
    step; None in runs that did not record them.
    """

    train: np.ndarray
    test: np.ndarray
    scores: np.ndarray
    held_out: np.ndarray
    singular_values: np.ndarray
    normaliser: float
    threshold: float | None
    rejected: np.ndarray
    refit_train: np.ndarray | None = None
    refit_test: np.ndarray | None = None


def time_machine(
    curve: Curve, moments: Sequence[Moment], is_anomaly: np.ndarray, among: np.ndarray | None = None
) -> dict[str, Any]:
    """Return all panels as lists of rounded numbers. moments: one for each step of `curve`; is_anomaly: (M,).

    among: rows of the test images that the twelve are chosen from; None: all.

    Scores are divided by what a held-out normal image scores on average at that step: a score has no unit, and
    shrinks with the features. On this scale the groups meet at 1 when nothing can be told apart any more.
    """
    if len(moments) != len(curve.steps) or not moments:
        raise UsageError(f"A time machine needs a moment for each step; got {len(moments)} for {len(curve.steps)}.")
    groups = {"normal": is_anomaly == 0, "anomalous": is_anomaly == 1}
    relative = [moment.scores / _unit(moment) for moment in moments]
    rows = np.arange(len(is_anomaly)) if among is None else among
    twelve = rows[same_twelve(relative[0][rows], is_anomaly[rows])]
    shares = {"spread": _shares_of_first(curve.spread), "rank": _shares_of_first(curve.effective_rank)}
    ratios = [value for value in (*curve.anomalous_ratio, *curve.normal_ratio) if value is not None]
    return {
        "steps": list(curve.steps),
        "auroc": list(curve.auroc),
        "auroc_low": list(curve.auroc_low),
        "auroc_high": list(curve.auroc_high),
        "levels": []
        if curve.whitened_auroc is None
        else [{"value": curve.whitened_auroc, "name": f"{WHITENED_LINE} {curve.whitened_auroc:.3f}"}],
        "anomalous_ratio": list(curve.anomalous_ratio),
        "normal_ratio": list(curve.normal_ratio),
        **shares,
        "neighbours": list(curve.neighbour_overlap),
        "effective_rank": [round(value, 1) for value in curve.effective_rank],
        "auroc_range": [max(0.0, auroc_range([curve])[0] + 0.01), 1.0],
        "ratio_range": [0, style.ceiling([*ratios, 1.2], room=1.05)],
        "share_range": [0, style.ceiling([*shares["spread"], *shares["rank"]], room=1.05)],
        "frame": frame(moments[0]),
        "clouds": _clouds([(moment.train, moment.test) for moment in moments], groups),
        "refitted": _refitted(moments, groups),
        "scores": {name: [_rounded(scores[rows]) for scores in relative] for name, rows in groups.items()},
        "score_range": _range(relative),
        "thresholds": [
            None if moment.threshold is None else round(moment.threshold / _unit(moment), 4) for moment in moments
        ],
        "spectrum": [_spectrum(moment.singular_values) for moment in moments],
        "twelve": [{"row": int(row), "anomalous": bool(is_anomaly[row])} for row in twelve],
        "twelve_scores": [_rounded(scores[twelve]) for scores in relative],
        "twelve_rejected": [moment.rejected[twelve].tolist() for moment in moments],
        "colours": {
            "train": style.TRAIN,
            "normal": style.NORMAL,
            "anomalous": style.ANOMALOUS,
            "mark": style.MARK,
            "kept": style.RUNS[3],
        },
    }


def _clouds(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], groups: dict[str, np.ndarray]
) -> dict[str, list[list[float]]]:
    """Return the points of each group at each step; pairs: those of training and test images."""
    return {
        "train": [_flat(train[:MOST_POINTS]) for train, _ in pairs],
        **{name: [_flat(test[rows][:MOST_POINTS]) for _, test in pairs] for name, rows in groups.items()},
    }


def _refitted(moments: Sequence[Moment], groups: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Return the clouds in directions fitted anew at each step, in units of their own spread in each direction.

    So does a chart whose axes follow its data. `enlarged`: how much larger the first direction is drawn than at the
    first step. None where a step lacks its directions.
    """
    pairs, spreads = [], []
    for moment in moments:
        if moment.refit_train is None or moment.refit_test is None:
            return None
        spread = np.concatenate([moment.refit_train, moment.refit_test]).std(axis=0, dtype=np.float64)
        unit = np.where(spread > 0, spread, 1.0)
        pairs.append((moment.refit_train / unit, moment.refit_test / unit))
        spreads.append(float(spread[0]))
    enlarged = [float(f"{spreads[0] / spread:.3g}") if spread > 0 else None for spread in spreads]
    return {**_clouds(pairs, groups), "enlarged": enlarged}


def jumps(curve: Curve, fired: int | None) -> dict[str, int | None]:
    """Return the places worth jumping to: the best AUROC, the step the rule chose, the first alarm, and the end.

    fired: the place of the first alarm, if any.
    """
    known = [(value, -place) for place, value in enumerate(curve.auroc) if value is not None]
    chosen = None
    if curve.stop_step is not None and curve.steps:
        chosen = int(np.argmin([abs(step - curve.stop_step) for step in curve.steps]))
    return {
        "best": -max(known)[1] if known else None,
        "stop": chosen,
        "alarm": fired,
        "end": len(curve.steps) - 1,
    }


def same_twelve(scores: np.ndarray, is_anomaly: np.ndarray) -> np.ndarray:
    """Return the rows of twelve test images, six of each kind as far as there are, evenly spaced by their scores."""
    rows: list[int] = []
    for label in (0, 1):
        members = np.nonzero(is_anomaly == label)[0]
        other = int((is_anomaly != label).sum())
        wanted = min(len(members), max(TWELVE // 2, TWELVE - other))
        ordered = members[np.argsort(scores[members], kind="stable")]
        rows += [int(ordered[place]) for place in np.linspace(0, len(ordered) - 1, wanted).round().astype(int)]
    return np.array(rows, dtype=int)


def thinned(count: int) -> list[int]:
    """Return at most `MOST_STEPS` places among `count`, evenly spaced, the first and the last among them."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, MOST_STEPS)).round()})


def frame(first: Moment) -> list[list[float]]:
    """Return [[left, right], [bottom, top]] of the unadapted cloud and the center: the axes of the whole run."""
    seen = np.concatenate([first.train, first.test, np.zeros((1, 2))]).astype(float)
    low, high = seen.min(axis=0), seen.max(axis=0)
    middle, reach = (low + high) / 2, np.maximum((high - low) / 2 * ROOM, 1e-9)
    spans: list[list[float]] = np.stack([middle - reach, middle + reach], axis=1).tolist()
    return spans


def _unit(moment: Moment) -> float:
    return typical_score(moment.held_out, moment.normaliser)


def _range(relative: Sequence[np.ndarray]) -> list[float]:
    """Return the score axis: from 0 (or the least score) to nearly the largest score of any step."""
    if not len(relative[0]):
        return [0.0, 1.0]
    top = max(float(np.quantile(scores, 0.97)) for scores in relative)
    low = min(0.0, *(float(scores.min()) for scores in relative))
    return [low, style.ceiling([top, 1.5], room=1.0)]


def _spectrum(singular_values: np.ndarray) -> list[float]:
    """Return the share of the spread in each of the strongest directions, in percent."""
    power = np.square(singular_values.astype(np.float64))
    total = float(power.sum())
    return [round(float(value), 3) for value in (100 * power / total if total > 0 else power)[:DIRECTIONS]]


def _shares_of_first(values: Sequence[float]) -> list[float]:
    first = values[0] if values and values[0] > 0 else 1.0
    return [float(f"{value / first:.4g}") for value in values]


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values.astype(float)]


def _flat(points: np.ndarray) -> list[float]:
    """Return points as one list, with four significant digits of their own spread: a tiny cloud keeps its shape."""
    spread = float(np.ptp(points.astype(float), axis=0).max()) if len(points) else 0.0
    digits = 4 if spread <= 0 else int(np.clip(3 - np.floor(np.log10(spread)), 3, 9))
    flat: list[float] = np.round(points.astype(float), digits).ravel().tolist()
    return flat
