"""How many false alarms a threshold will give, and how sure that is: simulations, closed forms, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from panda_core.errors import UsageError
from panda_core.metrics import auroc, expected_false_alarms, percentile_among, threshold_at

scores = arrays(np.float64, some.integers(1, 30), elements=some.floats(-1e6, 1e6))
rates = some.floats(0.001, 0.999)


@pytest.mark.parametrize("held_out, rate", [(1, 0.05), (8, 0.05), (19, 0.05), (40, 0.1), (105, 0.05), (500, 0.3)])
def test_simulated_thresholds_do_what_is_expected(held_out: int, rate: float) -> None:
    """An expected rate, or an interval, that is not that of fresh normal images at the threshold."""
    rng = np.random.default_rng([held_out, 7])
    # The share of fresh uniform scores above a threshold t is exactly 1 - t.
    found = np.array([1 - threshold_at(rng.random(held_out), rate) for _ in range(4000)])
    told = expected_false_alarms(held_out, rate)
    assert found.mean() == pytest.approx(told.expected, abs=4 * found.std() / 63)
    assert np.mean(found < told.low) == pytest.approx(0.025, abs=0.01)
    assert np.mean(found > told.high) == pytest.approx(0.025, abs=0.01)


def test_the_distribution_of_scores_does_not_matter() -> None:
    """An interval that holds for one distribution alone."""
    rng = np.random.default_rng(3)
    told, inside = expected_false_alarms(30, 0.1), []
    for _ in range(1500):
        found = np.mean(rng.exponential(size=4000) ** 3 > threshold_at(rng.exponential(size=30) ** 3, 0.1))
        inside.append(told.low <= found <= told.high)
    assert 0.93 < np.mean(inside) < 0.97


def test_closed_forms() -> None:
    """Ranks off by one: with one score the rate is uniform, with 19 the largest promises exactly 5 %."""
    one = expected_false_alarms(1, 0.05)
    assert (one.expected, one.low, one.high) == pytest.approx((0.5, 0.025, 0.975))
    nineteen = expected_false_alarms(19, 0.05)  # the largest: P(share > x) = (1 - x) ** 19
    assert nineteen.expected == pytest.approx(1 / 20)
    assert (nineteen.low, nineteen.high) == pytest.approx((1 - 0.975 ** (1 / 19), 1 - 0.025 ** (1 / 19)))
    assert expected_false_alarms(18, 0.05).expected == pytest.approx(1 / 19)  # too few to promise 5 %


@given(some.integers(1, 5000), rates)
def test_the_promise_is_kept_where_it_can_be(held_out: int, rate: float) -> None:
    """A threshold that is expected to reject more than the rate, or an interval without its mean."""
    told = expected_false_alarms(held_out, rate)
    assert 0 <= told.low < told.expected < told.high <= 1
    assert told.expected <= max(rate, 1 / (held_out + 1)) + 1e-12
    narrow = expected_false_alarms(held_out, rate, confidence=0.5)
    assert told.low <= narrow.low < narrow.high <= told.high


@given(some.integers(1, 400), rates)
def test_more_images_make_it_surer(held_out: int, rate: float) -> None:
    """An interval that grows with what is known."""
    few, many = expected_false_alarms(held_out, rate), expected_false_alarms(16 * held_out + 15, rate)
    assert many.high - many.low < few.high - few.low


@given(scores, rates, rates)
def test_a_higher_rate_never_raises_the_threshold(held_out: np.ndarray, first: float, second: float) -> None:
    """A slider that goes the wrong way; a threshold that is no score of a normal image."""
    low, high = sorted((first, second))
    assert threshold_at(held_out, high) <= threshold_at(held_out, low)
    assert threshold_at(held_out, low) in held_out


@given(scores, scores)
def test_percentiles_keep_the_order_of_scores(held_out: np.ndarray, others: np.ndarray) -> None:
    """A percentile of a higher score that is lower, or one outside of 0 to 100."""
    found = percentile_among(held_out, np.sort(others))
    assert (np.diff(found) >= 0).all() and (found >= 0).all() and (found <= 100).all()


@given(arrays(np.float64, 12, elements=some.integers(-50, 50)), some.integers(1, 2**12 - 2))
def test_auroc_depends_on_the_order_alone(found: np.ndarray, bits: int) -> None:
    """A metric that changes with the unit of the scores, or whose two sides do not add up."""
    labels = np.array([bits >> place & 1 for place in range(12)])
    value = auroc(found, labels)
    assert value is not None
    assert auroc(np.exp(found / 10), labels) == pytest.approx(value)
    assert auroc(-found, labels) == pytest.approx(1 - value) == auroc(found, 1 - labels)


@pytest.mark.parametrize("held_out, rate, confidence", [(0, 0.05, 0.95), (5, 0.0, 0.95), (5, 1.0, 0.95), (5, 0.1, 1.0)])
def test_nonsense_is_refused(held_out: int, rate: float, confidence: float) -> None:
    """A threshold from nothing, which would accept or reject everything."""
    with pytest.raises(UsageError):
        expected_false_alarms(held_out, rate, confidence=confidence)
