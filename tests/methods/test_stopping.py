"""Stop rules: sample-wise stopping against its slow reference, and the label-free alarm."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from panda_core.events import Evaluated
from panda_core.methods.alarm import (
    ENDED,
    FALL,
    FOUND,
    HEALTHY,
    KEPT,
    LOSING,
    REGAINED,
    ROUNDING,
    SUFFERING,
    fired,
    readings,
)
from panda_core.methods.stopping import (
    SMALLEST_SPREAD,
    aggregate,
    end_reason,
    last_checkpoint,
    mean_ratio,
    sample_wise,
    used_checkpoints,
)

numbers = st.floats(0, 1e3, width=32)
histories = st.integers(1, 6).flatmap(
    lambda steps: st.tuples(
        arrays(np.float32, st.tuples(st.just(steps), st.integers(1, 5)), elements=numbers),
        arrays(np.float64, steps, elements=st.floats(1e-3, 1e3)),
    )
)


def slow(history: np.ndarray, normalisers: np.ndarray) -> tuple[list[float], list[int]]:
    """Return scores and checkpoints of sample-wise early stopping, image by image."""
    scores, chosen = [], []
    for image in range(history.shape[1]):
        best, place = -1.0, 0
        for step in range(len(history)):
            ratio = float(history[step, image]) / float(normalisers[step])
            if ratio > best:
                best, place = ratio, step
        scores.append(best)
        chosen.append(place)
    return scores, chosen


@given(histories)
def test_sample_wise_equals_the_slow_reference(case: tuple[np.ndarray, np.ndarray]) -> None:
    """A maximum over images for one over checkpoints; a score that no checkpoint gave."""
    found = sample_wise(*case)
    scores, chosen = slow(*case)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-6)
    np.testing.assert_array_equal(found.checkpoint, chosen)
    assert found.scores.dtype == np.float32


@given(histories, st.floats(1e-3, 1e3), st.integers(0, 5))
def test_a_scaled_checkpoint_changes_nothing(case: tuple[np.ndarray, np.ndarray], scale: float, step: int) -> None:
    """Scores that depend on the unit of a checkpoint's features: the reason for dividing by s_t."""
    history, normalisers = case[0].astype(np.float64), case[1]
    scaled = history.copy(), normalisers.copy()
    for values in scaled:
        values[step % len(history)] *= scale
    np.testing.assert_allclose(sample_wise(*scaled).scores, sample_wise(history, normalisers).scores, rtol=1e-5)


@given(histories)
def test_another_checkpoint_never_lowers_a_score(case: tuple[np.ndarray, np.ndarray]) -> None:
    """A rule that is not a maximum."""
    history, normalisers = case
    so_far = [sample_wise(history[:count], normalisers[:count]).scores for count in range(1, len(history) + 1)]
    assert all((later >= earlier).all() for earlier, later in itertools.pairwise(so_far))


def test_one_checkpoint_keeps_the_order() -> None:
    """Sample-wise stopping of an unstopped run that ranks images otherwise than plain scores."""
    history = np.array([[3.0, 1.0, 2.0]], np.float32)
    found = sample_wise(history, np.array([2.0]))
    np.testing.assert_allclose(found.scores, [1.5, 0.5, 1.0])
    np.testing.assert_array_equal(found.checkpoint, 0)


@pytest.mark.parametrize("vanished", [0.0, 1e-300, SMALLEST_SPREAD / 10])
def test_a_collapsed_checkpoint_takes_no_part(vanished: float) -> None:
    """NaN, infinity or the highest of all scores from a checkpoint that has become one point."""
    history = np.array([[1.0, 4.0], [0.0, 1e-3]], np.float32)
    with np.errstate(all="raise"):
        found = sample_wise(history, np.array([2.0, vanished]))
    np.testing.assert_allclose(found.scores, [0.5, 2.0])
    np.testing.assert_array_equal(found.checkpoint, 0)


def test_all_checkpoints_collapsed() -> None:
    """A division by zero where nothing is left to divide by."""
    with np.errstate(all="raise"):
        found = sample_wise(np.zeros((2, 3), np.float32), np.zeros(2))
    np.testing.assert_array_equal(found.scores, 0)


def test_the_last_checkpoint_is_the_last() -> None:
    """The best of all checkpoints, which only labels could tell."""
    found = last_checkpoint(np.array([[9.0, 8.0], [1.0, 2.0]], np.float32))
    np.testing.assert_array_equal(found.scores, [1, 2])
    np.testing.assert_array_equal(found.checkpoint, 1)


@given(histories)
def test_both_is_the_mean_of_the_relative_scores(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Scores of checkpoints added up in different units; a choice of one of them."""
    history, normalisers = case
    found = mean_ratio(history, normalisers)
    expected = [
        sum(float(history[step, image]) / float(normalisers[step]) for step in range(len(history))) / len(history)
        for image in range(history.shape[1])
    ]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-6)
    assert set(found.checkpoint) == {len(history) - 1} and found.scores.dtype == np.float32


def test_both_leaves_out_a_collapsed_checkpoint() -> None:
    """A division by nothing, which makes a collapsed network decide alone."""
    history = np.array([[1.0, 2.0], [1e-20, 3e-20]], np.float64)
    np.testing.assert_allclose(mean_ratio(history, np.array([2.0, 1e-20])).scores, [0.5, 1.0])
    np.testing.assert_array_equal(mean_ratio(history, np.zeros(2)).scores, [0.0, 0.0])


def test_every_rule_has_its_own_score() -> None:
    """A stop rule that is named in a recipe and scores by another one."""
    history, normalisers = np.array([[8.0, 1.0], [3.0, 3.0]]), np.array([2.0, 1.0])
    found = {stop: aggregate(stop, history, normalisers).scores.tolist() for stop in ("last", "ses", "alarm")}
    assert found == {"last": [3.0, 3.0], "ses": [4.0, 3.0], "alarm": [3.5, 1.75]}


def told(
    overlaps: Sequence[float | None], stand_ins: Sequence[float | None] = (), margins: Sequence[float | None] = ()
) -> list[Evaluated]:
    """Return measurements with these shares of neighbours kept, stand-ins' AUROC and distances in rounding errors."""
    return [
        Evaluated(
            step=place, images_seen=8 * place, auroc=None, auroc_low=None, auroc_high=None, center_auroc=None,
            spread=1.0, normal_ratio=None, anomalous_ratio=None, effective_rank=9.0, alarm="", seconds=0.1,
            neighbour_overlap=share, stand_in_auroc=stand_in, rounding_margin=margin,
        )
        for place, (share, stand_in, margin) in enumerate(itertools.zip_longest(overlaps, stand_ins, margins))
    ]  # fmt: skip


def states(*measured: Sequence[float | None]) -> list[str]:
    return [reading.state for reading in readings(told(*measured))]


def test_lost_neighbours_are_lost_structure_and_no_alarm() -> None:
    """A run that is stopped while its AUROC climbs, because normal images have changed places."""
    overlaps = [1.0, 0.8, KEPT + 0.01, KEPT - 0.01, 0.2]
    assert states(overlaps) == [HEALTHY] * 3 + [LOSING] * 2
    assert fired(told(overlaps)) is None and end_reason(told(overlaps), "alarm") is None


def test_a_stand_in_that_falls_under_its_best_is_an_alarm() -> None:
    """An alarm that compares with step 0 alone: what was gained on the way is lost first."""
    found = told([1.0] * 4, [0.6, 0.7, 0.7 - FALL + 0.001, 0.7 - FALL - 0.001])
    assert [reading.state for reading in readings(found)] == [HEALTHY] * 3 + [SUFFERING]
    assert fired(found) == 3
    assert used_checkpoints(found, "alarm", None) == [found[0], found[1]]
    assert "step 3" in str(end_reason(found, "alarm")) and end_reason(found, "last") is None


def test_an_alarm_is_taken_back_some_way_above_its_line() -> None:
    """An alarm that latches, or that flickers where a number wavers about its line."""
    line = 0.7 - FALL
    assert states([1.0] * 4, [0.7, line - 0.01, line + REGAINED - 0.01, line + REGAINED]) == [
        HEALTHY, SUFFERING, SUFFERING, HEALTHY,
    ]  # fmt: skip
    assert states([1.0, KEPT - 0.01, KEPT + FOUND - 0.01, KEPT + FOUND]) == [HEALTHY, LOSING, LOSING, HEALTHY]


def test_the_gravest_state_is_told_with_all_gauges() -> None:
    """Numbers that have ended under the word of a lesser state; a gauge without its line."""
    last = readings(told([1.0, 0.1], [0.9, 0.1], [1e5, ROUNDING - 1]))[-1]
    assert last.state == ENDED
    assert (last.structure.value, last.structure.line) == (0.1, KEPT)
    assert (last.detection.value, last.detection.line) == (0.1, 0.9 - FALL)
    assert (last.rounding.value, last.rounding.line) == (ROUNDING - 1, ROUNDING)


def test_where_numbers_have_ended_no_score_is_taken() -> None:
    """Scores of rounding: of a checkpoint under the line, of whatever rule; a run that then has none."""
    found = told([1.0] * 3, [0.9] * 3, [1e5, 1e4, 1.0])
    assert [used_checkpoints(found, stop, None) for stop in ("last", "ses", "alarm")] == [
        [found[1]], [found[1]], [found[0]],
    ]  # fmt: skip
    alone = told([1.0], [0.9], [1.0])
    assert used_checkpoints(alone, "last", None) == alone
    assert all(end_reason(found, stop) for stop in ("last", "ses", "alarm"))


def test_a_run_of_one_measurement_has_one_network() -> None:
    """The unadapted network that is asked twice."""
    found = told([1.0])
    assert fired(found) is None and used_checkpoints(found, "alarm", None) == found


def test_measurements_of_older_versions_say_nothing() -> None:
    """A resumed run of an older version that ends in an error, or is scored by another checkpoint than it was."""
    assert states([None, None, 0.9]) == [HEALTHY] * 3
    found = told([1.0, 0.8, 0.4])
    assert used_checkpoints(found, "alarm", None) == [found[0], found[2]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_it_stops_at_the_first_alarm_or_at_the_end(stand_ins: list[float]) -> None:
    """Scores of a network further into its collapse than the alarm."""
    found = told([1.0] * len(stand_ins), stand_ins)
    place = fired(found)
    best = np.maximum.accumulate(stand_ins)
    suffering = [index for index, value in enumerate(stand_ins) if value < best[index] - FALL]
    assert place == (suffering[0] if suffering else None)
    assert used_checkpoints(found, "alarm", None)[-1] is found[int(np.argmax(stand_ins[:place]))]
