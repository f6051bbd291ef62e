"""The numbers behind the scrubber: fixed axes, relative scores, the same twelve images, and places to jump to."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panda_core.errors import UsageError
from panda_core.figures import Curve, Moment, jumps, thinned, time_machine
from panda_core.figures.time_machine import same_twelve

IS_ANOMALY = np.r_[np.zeros(8, int), np.ones(12, int)]
CURVE = Curve(
    last_step=20,
    steps=(0, 10, 20),
    auroc=(0.8, 0.95, 0.6),
    auroc_low=(0.7, 0.9, 0.5),
    auroc_high=(0.9, 1.0, 0.7),
    spread=(4.0, 1.0, 0.01),
    normal_ratio=(1.0, 1.0, 1.0),
    anomalous_ratio=(1.5, 2.0, 1.0),
    effective_rank=(10.0, 8.0, 2.0),
    stop_step=12,
)
REFIT = np.random.default_rng(3).normal(size=(50, 2)) * [3.0, 0.5]


def moment(size: float, seed: int = 0) -> Moment:
    """Return a moment whose features and scores have this size."""
    rng = np.random.default_rng(seed)
    scores = np.r_[rng.uniform(0.5, 1.5, 8), rng.uniform(1.0, 4.0, 12)]
    return Moment(
        train=size * rng.normal(size=(30, 2)),
        test=size * rng.normal(size=(20, 2)),
        scores=size * scores,
        held_out=size * np.array([0.5, 1.5]),
        singular_values=size * np.array([3.0, 1.0]),
        normaliser=size,
        threshold=size * 1.5,
        rejected=scores > 1.5,
    )


def test_everything_has_one_entry_a_step_and_is_plain_json() -> None:
    """Panels that run apart because one of them lacks a step; an array that JSON does not know."""
    data = time_machine(CURVE, [moment(1.0), moment(0.1), moment(0.01)], IS_ANOMALY)
    for name in ("steps", "auroc", "spread", "rank", "thresholds", "spectrum", "twelve_scores", "twelve_rejected"):
        assert len(data[name]) == 3, name
    assert {len(frames) for frames in (*data["clouds"].values(), *data["scores"].values())} == {3}
    assert json.loads(json.dumps(data)) == data


def test_what_whitening_gives_comes_with_its_number() -> None:
    """A film without the line that its run measured, or with one that no run measured."""
    moments = [moment(1.0), moment(0.1), moment(0.01)]
    (level,) = time_machine(dataclasses.replace(CURVE, whitened_auroc=0.9049), moments, IS_ANOMALY)["levels"]
    assert level["value"] == 0.9049 and level["name"].endswith("0.905")
    assert time_machine(CURVE, moments, IS_ANOMALY)["levels"] == []


def test_the_cloud_shrinks_on_axes_of_step_0_while_relative_scores_stay() -> None:
    """A projection or an axis fitted anew, which hides the collapse; scores that shrink and seem to mean something."""
    data = time_machine(CURVE, [moment(1.0), moment(0.1), moment(0.001)], IS_ANOMALY)
    reach = [max(abs(value) for value in frame) for frame in data["clouds"]["train"]]
    assert reach[1] == pytest.approx(0.1 * reach[0], rel=1e-2) and reach[2] == pytest.approx(1e-3 * reach[0], rel=1e-2)
    (left, right), (bottom, top) = data["frame"]
    xs, ys = data["clouds"]["train"][0][::2], data["clouds"]["train"][0][1::2]
    assert left <= min(xs) and max(xs) <= right and bottom <= min(ys) and max(ys) <= top
    assert data["scores"]["normal"][0] == pytest.approx(data["scores"]["normal"][2], rel=1e-3)
    assert data["thresholds"] == [1.5, 1.5, 1.5]  # held-out scores of 0.5 and 1.5: a normal image scores 1
    shown = [image["row"] for image in data["twelve"]]
    assert data["twelve_rejected"] == 3 * [moment(1.0).rejected[shown].tolist()]
    assert data["spectrum"][0] == [90.0, 10.0] == data["spectrum"][2]


def test_a_refitted_cloud_fills_the_frame_while_the_fixed_one_shrinks() -> None:
    """A refit on axes that are fixed after all, which would not lie; or no word of how much it enlarges."""
    moments = [
        dataclasses.replace(moment(size), refit_train=size * REFIT[:30], refit_test=size * REFIT[30:])
        for size in (1.0, 0.1, 1e-6)
    ]
    refitted = time_machine(CURVE, moments, IS_ANOMALY)["refitted"]
    for place in range(3):
        drawn = np.concatenate(
            [np.reshape(refitted[name][place], (-1, 2)) for name in ("train", "normal", "anomalous")]
        )
        assert drawn.std(axis=0) == pytest.approx([1, 1], rel=1e-2)
    assert refitted["enlarged"] == [1.0, 10.0, 1e6]
    point = dataclasses.replace(moment(0.0), refit_train=np.zeros((30, 2)), refit_test=np.zeros((20, 2)))
    assert time_machine(CURVE, [*moments[:2], point], IS_ANOMALY)["refitted"]["enlarged"] == [1.0, 10.0, None]


def test_a_run_that_recorded_no_refit_says_so() -> None:
    """A run of an older version that cannot be looked at any more, or a switch that shows half of its steps."""
    new = dataclasses.replace(moment(1.0), refit_train=REFIT[:30], refit_test=REFIT[30:])
    assert time_machine(CURVE, [new, moment(0.1), new], IS_ANOMALY)["refitted"] is None


def test_a_scale_that_is_no_scale_changes_nothing() -> None:
    """A division by zero after a collapse to a point, or by a negative mean of scores."""
    for held_out, normaliser in ((np.zeros(2), 0.0), (np.empty(0), -1.0), (np.empty(0), np.nan)):
        point = dataclasses.replace(moment(1.0), held_out=held_out, normaliser=normaliser)
        data = time_machine(CURVE.at([0]), [point], IS_ANOMALY)
        assert data["scores"]["normal"][0] == pytest.approx(point.scores[:8], rel=1e-3)


def test_moments_must_fit_the_curve() -> None:
    """A cloud of one step shown with the curve of another."""
    with pytest.raises(UsageError, match="each step"):
        time_machine(CURVE, [moment(1.0)], IS_ANOMALY)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 5))
def test_the_twelve_are_different_images_of_both_kinds(labels: list[bool], seed: int) -> None:
    """An image shown twice, or a strip of anomalies alone where there are normal images too."""
    is_anomaly = np.array(labels, int)
    rows = same_twelve(np.random.default_rng(seed).normal(size=len(labels)), is_anomaly)
    assert len(set(rows.tolist())) == len(rows) == min(12, len(labels))
    for label in (0, 1):
        assert (is_anomaly[rows] == label).sum() >= min(6, (is_anomaly == label).sum())


def test_jumps_lead_where_they_say() -> None:
    """A button that jumps to the last of equal steps, or to a step that was not measured."""
    assert jumps(CURVE, 1) == {"best": 1, "stop": 1, "alarm": 1, "end": 2}
    bare = dataclasses.replace(CURVE, auroc=(None, None, None), stop_step=None)
    assert jumps(bare, None) == {"best": None, "stop": None, "alarm": None, "end": 2}
    level = dataclasses.replace(CURVE, auroc=(0.9, 0.9, 0.9))
    assert jumps(level, 1)["best"] == 0


@given(st.integers(1, 2000))
def test_long_runs_are_thinned_with_both_ends(count: int) -> None:
    """A film of a thousand frames, or one that stops before the end."""
    places = thinned(count)
    assert places[0] == 0 and places[-1] == count - 1 and len(places) == min(count, 61)
