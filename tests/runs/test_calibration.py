"""Threshold, verdict, percentile and expected false alarms: simulations, closed forms, properties; who calibrates."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from panda_core.datasets import ArrayImages, OneClassTask
from panda_core.errors import UsageError
from panda_core.region import Region
from panda_core.runs.calibration import (
    ENOUGH,
    MAP_MIDDLE,
    RATE,
    TIE,
    Calibration,
    FalseAlarms,
    calibrated,
    calibration_rows,
    count_held_out,
    with_reserved,
)
from panda_core.segmentation.maps import full_map

scores = arrays(np.float64, some.integers(1, 30), elements=some.floats(-1e6, 1e6))
rates = some.floats(0.001, 0.999)


def threshold_at(held_out: np.ndarray, rate: float) -> float:
    """Return the threshold of scores (H,) of calibrating images."""
    threshold = Calibration(held_out).threshold(rate)
    assert threshold is not None
    return threshold


def alarms_of(held_out: int, rate: float) -> FalseAlarms:
    """Return what so many calibrating images promise."""
    alarms = Calibration(np.arange(float(held_out))).false_alarms(rate)
    assert alarms is not None
    return alarms


@pytest.mark.parametrize(
    ("count", "rate", "rank"), [(19, 0.05, 19), (99, 0.05, 95), (9, 0.1, 9), (9, 0.5, 5), (3, 0.05, 3)]
)
def test_threshold_is_the_conformal_quantile(count: int, rate: float, rank: int) -> None:
    """Off by one: the (1 - rate) quantile of few scores is too low a threshold."""
    permuted = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert threshold_at(permuted, rate) == rank + TIE * rank


@pytest.mark.parametrize(("count", "rate"), [(39, 0.05), (50, 0.05), (20, 0.2)])
def test_threshold_keeps_its_promise(count: int, rate: float) -> None:
    """More false alarms than promised: 4,000 simulated calibrations, a fresh normal image each."""
    drawn = np.random.default_rng(2).exponential(size=(4000, count + 1))
    alarms = np.mean([Calibration(row[1:]).rejects(row[:1], rate)[0] for row in drawn])
    promised = 1 - np.ceil((count + 1) * (1 - rate)) / (count + 1)  # exact for continuous scores
    assert promised <= rate + 1e-12
    assert abs(alarms - promised) < 4 * np.sqrt(rate / 4000)


@pytest.mark.parametrize("held_out, rate", [(1, 0.05), (8, 0.05), (19, 0.05), (40, 0.1), (105, 0.05), (500, 0.3)])
def test_simulated_thresholds_do_what_is_expected(held_out: int, rate: float) -> None:
    """An expected rate, or an interval, that is not that of fresh normal images at the threshold."""
    rng = np.random.default_rng([held_out, 7])
    # The share of fresh uniform scores above a threshold t is exactly 1 - t.
    shares = np.array([1 - threshold_at(rng.random(held_out), rate) for _ in range(4000)])
    alarms = alarms_of(held_out, rate)
    assert shares.mean() == pytest.approx(alarms.expected, abs=4 * shares.std() / 63 + TIE)
    assert np.mean(shares < alarms.low) == pytest.approx(0.025, abs=0.01)
    assert np.mean(shares > alarms.high) == pytest.approx(0.025, abs=0.01)


def test_the_distribution_of_scores_does_not_matter() -> None:
    """An interval that holds for one distribution alone."""
    rng = np.random.default_rng(3)
    alarms, inside = alarms_of(30, 0.1), []
    for _ in range(1500):
        share = np.mean(rng.exponential(size=4000) ** 3 > threshold_at(rng.exponential(size=30) ** 3, 0.1))
        inside.append(alarms.low <= share <= alarms.high)
    assert 0.93 < np.mean(inside) < 0.97


def test_closed_forms() -> None:
    """Ranks off by one: with one score the rate is uniform, with 19 the largest promises exactly 5 %."""
    one = alarms_of(1, 0.05)
    assert (one.expected, one.low, one.high) == pytest.approx((0.5, 0.025, 0.975))
    nineteen = alarms_of(ENOUGH, RATE)  # the largest: P(share > x) = (1 - x) ** 19
    assert nineteen.expected == pytest.approx(1 / 20)
    assert (nineteen.low, nineteen.high) == pytest.approx((1 - 0.975 ** (1 / 19), 1 - 0.025 ** (1 / 19)))
    assert alarms_of(18, 0.05).expected == pytest.approx(1 / 19)  # too few to promise 5 %


@given(some.integers(1, 5000), rates)
def test_the_promise_is_kept_where_it_can_be(held_out: int, rate: float) -> None:
    """A threshold that is expected to reject more than the rate, or an interval without its mean."""
    alarms = alarms_of(held_out, rate)
    assert 0 <= alarms.low < alarms.expected < alarms.high <= 1
    assert alarms.expected <= max(rate, 1 / (held_out + 1)) + 1e-12


@given(some.integers(1, 400), rates)
def test_more_images_make_it_surer(held_out: int, rate: float) -> None:
    """An interval that grows with what is known."""
    few, many = alarms_of(held_out, rate), alarms_of(16 * held_out + 15, rate)
    assert many.high - many.low < few.high - few.low


@given(scores, rates, rates)
def test_a_higher_rate_never_raises_the_threshold(held_out: np.ndarray, first: float, second: float) -> None:
    """A slider that goes the wrong way."""
    low, high = sorted((first, second))
    assert threshold_at(held_out, high) <= threshold_at(held_out, low)


@given(scores, rates, some.floats(-1e-6, 1e-6))
def test_an_image_that_calibrated_has_one_verdict(held_out: np.ndarray, rate: float, noise: float) -> None:
    """An image whose own score is the threshold, rejected or accepted by the rounding of the batch it came in."""
    calibration = Calibration(held_out)
    again = held_out * (1 + noise)  # another batch, another processor, an exported graph
    np.testing.assert_array_equal(calibration.rejects(again, rate), calibration.rejects(held_out, rate))
    for first, second in zip(held_out, again, strict=True):
        assert calibration.verdict(first, rate) == calibration.verdict(second, rate)


@given(scores, scores, rates)
def test_verdict_rejection_and_percentile_agree(held_out: np.ndarray, others: np.ndarray, rate: float) -> None:
    """Two answers to one question: rejected with a percentile of 87, accepted with one of 100."""
    calibration = Calibration(held_out)
    order = np.sort(others)
    percentiles = [calibration.percentile(float(score)) for score in order]
    rejected = calibration.rejects(order, rate)
    assert all(value is not None and 0 <= value <= 100 for value in percentiles)
    assert percentiles == sorted(percentiles)  # type: ignore[type-var]
    for score, percentile, reject in zip(order, percentiles, rejected, strict=True):
        assert calibration.verdict(float(score), rate) == ("anomalous" if reject else "normal")
        if reject:
            assert percentile is not None
            rank = min(np.ceil((len(held_out) + 1) * (1 - rate)), len(held_out))
            assert percentile >= 100 * rank / len(held_out) - 1e-9


def test_percentile_counts_lower_scores() -> None:
    """Ties counted as lower, and the unsorted scores searched."""
    calibration = Calibration(np.array([3.0, 1.0, 2.0, 2.0]))
    assert [calibration.percentile(score) for score in (0, 1, 2, 2.5, 9)] == [0, 0, 25, 75, 100]


def test_a_score_that_is_no_number_is_not_called_normal() -> None:
    """ "normal" for an image of which nothing is known."""
    calibration = Calibration(np.arange(1.0, 40.0))
    assert calibration.rejects(np.array([np.nan, 1.0, np.inf, -np.inf])).tolist() == [True, False, True, False]
    assert calibration.verdict(float("nan")) == "anomalous" and calibration.percentile(float("nan")) == 100


def test_without_images_there_is_no_verdict() -> None:
    """Everything accepted, or an IndexError, by a run that held nothing out."""
    nothing = Calibration(np.empty(0))
    assert nothing.threshold() is None and nothing.false_alarms() is None and nothing.percentile(1.0) is None
    assert nothing.verdict(1.0) == "-" and not nothing.rejects(np.array([1.0, 9.0])).any()
    assert nothing.summary()["threshold"] is None and "no threshold" in nothing.sentence()


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan")])
def test_impossible_rates_are_refused(rate: float) -> None:
    """A rate of 0 answered with the largest score, which promises nothing of the kind."""
    with pytest.raises(UsageError, match="false-alarm rate"):
        Calibration(np.ones(3)).threshold(rate)
    with pytest.raises(UsageError, match="false-alarm rate"):
        Calibration(np.ones(3)).false_alarms(rate)


@given(arrays(np.float32, some.integers(0, 30), elements=some.floats(-1e6, 1e6, width=32)), rates)
@settings(max_examples=50)
def test_what_is_written_is_what_is_read(held_out: np.ndarray, rate: float) -> None:
    """A threshold that differs in its last digit between the run that computed it and the page that reads it."""
    calibration = calibrated(held_out, "few")
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert again.threshold(rate) == calibration.threshold(rate) and again.summary(rate) == calibration.summary(rate)
    np.testing.assert_array_equal(again.scores, held_out)


def test_the_middle_of_the_colours_is_where_normal_maps_end() -> None:
    """Normal images that glow, or a middle that follows the threshold of the score."""
    grids = np.random.default_rng(0).gamma(4.0, size=(12, 7, 7)).astype(np.float32)
    calibration = calibrated(np.arange(12.0), grids=grids, size=32, sigma=2.0)
    maps = np.stack([full_map(grid, 32, 2.0) for grid in grids])
    assert calibration.map_middle is not None and calibration.map_low is not None
    assert np.mean(maps > calibration.map_middle) == pytest.approx(1 - MAP_MIDDLE, abs=2e-4)
    assert np.mean(maps > calibration.map_low) == pytest.approx(0.5, abs=0.01)


def task_of(train: int, normal: int, anomalous: int) -> OneClassTask:
    """Return a task of flat images that tells each by its grey value."""

    def images(start: int, count: int, kind: str) -> ArrayImages:
        grey = np.arange(start, start + count, dtype=np.uint8)
        return ArrayImages(np.broadcast_to(grey[:, None, None], (count, 8, 8)).copy(), [f"{kind}{i}" for i in grey])

    labels = np.array([0] * normal + [1] * anomalous, np.uint8)
    return OneClassTask(
        images(0, train, "train"), images(100, normal + anomalous, "test"), labels, kinds=labels.astype(str)
    )


@given(some.integers(2, 40), some.integers(0, 30), some.integers(0, 5), some.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_image_calibrates_or_is_measured_never_both(train: int, normal: int, anomalous: int, seed: int) -> None:
    """An image that sets the threshold and is then counted among the test images that it rejects."""
    task = task_of(train, normal, anomalous)
    moved = with_reserved(task, seed, count_held_out(train))
    names = [*moved.train.names, *moved.test.names]
    assert sorted(names) == sorted([*task.train.names, *task.test.names])
    assert set(moved.test.names).isdisjoint(moved.train.names)
    assert len(moved.reserved) <= normal // 2 and int(moved.is_anomaly.sum()) == anomalous
    reserved = np.isin(np.arange(len(moved.train)), moved.reserved)
    rows = calibration_rows(reserved, seed)
    assert reserved[rows].sum() == len(moved.reserved)
    assert len(rows) == count_held_out(train) + len(moved.reserved)
    assert len(rows) >= min(ENOUGH, count_held_out(train) + normal // 2)
    kinds = moved.kinds
    assert kinds is not None and kinds.tolist() == moved.is_anomaly.astype(str).tolist()
    for row, name in enumerate(moved.train.names):
        assert name.endswith(str(int(moved.train.load(row)[0, 0, 0])))


def test_images_that_are_enough_leave_the_test_set_whole() -> None:
    """Test images taken away from a folder whose held-out training images suffice."""
    task = task_of(190, 9, 2)
    assert with_reserved(task, 0, 19) is task


def test_a_region_smaller_than_a_pixel_of_the_map_has_no_colours() -> None:
    """A quantile of no values, a crash after all was computed."""
    marked = np.zeros((900, 900), bool)
    marked[0, 0] = True
    grids = np.random.default_rng(0).random((4, 8, 8)).astype(np.float32)
    calibration = calibrated(np.arange(4.0), grids=grids, size=32, sigma=2.0, region=Region(marked))
    assert (calibration.map_low, calibration.map_middle) == (calibrated(np.arange(4.0)).map_low,) * 2
