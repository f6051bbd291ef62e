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
    ADAPTING,
    COLLAPSING,
    KEPT,
    PLATEAU,
    alarm,
    stopped_at,
)
from panda_core.methods.stopping import (
    SMALLEST_SPREAD,
    aggregate,
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


def told(overlaps: Sequence[float | None]) -> list[Evaluated]:
    """Return measurements with these shares of neighbours kept, each with what the alarm says of those until then."""
    found: list[Evaluated] = []
    for place, share in enumerate(overlaps):
        event = Evaluated(
            step=place, images_seen=8 * place, auroc=None, auroc_low=None, auroc_high=None, center_auroc=None,
            spread=1.0, normal_ratio=None, anomalous_ratio=None, effective_rank=9.0, alarm="", seconds=0.1,
            neighbour_overlap=share,
        )  # fmt: skip
        object.__setattr__(event, "alarm", alarm([*found, event]))
        found.append(event)
    return found


def words(overlaps: Sequence[float | None]) -> list[str]:
    return [event.alarm for event in told(overlaps)]


def test_lost_neighbourhoods_are_a_collapse() -> None:
    """An alarm that stays silent while images get other neighbours, or a stop before or after it."""
    found = told([1.0, 0.8, KEPT + 0.01, KEPT - 0.01, 0.2])
    assert [event.alarm for event in found] == [ADAPTING] * 3 + [COLLAPSING] * 2
    assert stopped_at(found) == 3
    assert used_checkpoints(found, "alarm", None) == [found[0], found[3]]


def test_a_run_that_keeps_its_neighbourhoods_is_left_alone() -> None:
    """An alarm at features that change a little, or swing."""
    found = told([1.0, 0.9, 0.95, 0.85, 0.92, 0.8])
    assert {event.alarm for event in found} == {ADAPTING}
    assert stopped_at(found) == 5


def test_standing_still_is_a_plateau() -> None:
    """Endless "adapting" where nothing happens any more; a plateau called before anything has happened."""
    assert words([1.0, 0.9, 0.85, 0.849, 0.848]) == [ADAPTING] * 3 + [PLATEAU] * 2
    assert words([1.0, 1.0, 1.0, 0.999]) == [ADAPTING] * 4


def test_a_plateau_at_the_bottom_is_not_healthy() -> None:
    """A collapsed run that stands still and is called healthy; an alarm that is taken back."""
    assert words([1.0, 0.3, 0.3, 0.3, 0.9])[1:] == [COLLAPSING] * 4


def test_a_run_of_one_measurement_has_one_network() -> None:
    """The unadapted network that is asked twice."""
    found = told([1.0])
    assert stopped_at(found) == 0 and used_checkpoints(found, "alarm", None) == found


def test_measurements_of_older_versions_say_nothing() -> None:
    """A resumed run of an older version that ends in an error."""
    assert words([None, None, 0.9]) == [ADAPTING] * 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_it_stops_at_the_first_alarm_or_at_the_end(overlaps: list[float]) -> None:
    """Scores of a network further into its collapse than the alarm."""
    found = told([1.0, *overlaps])
    place = stopped_at(found)
    assert all(event.alarm != COLLAPSING for event in found[:place])
    assert found[place].alarm == COLLAPSING or place == len(found) - 1
