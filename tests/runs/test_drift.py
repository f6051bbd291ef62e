"""Drift: a warning when the share of rejects parts from what was promised, once, and hardly ever without reason."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.stats import beta, binom

from panda_core.runs.calibration import Calibration
from panda_core.runs.drift import LEVEL, WINDOWS, Drift


@functools.cache
def parts(count: int, window: int, low: float, high: float) -> bool:
    """Return whether so many rejects among so many images are not what the promised interval explains."""
    return bool(binom.sf(count - 1, window, high) < LEVEL or binom.cdf(count, window, low) < LEVEL)


def drift_of(calibrating: int) -> Drift:
    return Drift(Calibration(np.arange(float(calibrating))).false_alarms())


@pytest.mark.parametrize("calibrating", [4, 19, 100, 500])
def test_it_warns_where_an_exact_test_does(calibrating: int) -> None:
    """An approximation that warns of 5 % of rejects, or a window that is never full; counts that lose an image."""
    rng = np.random.default_rng(calibrating)
    drift, seen = drift_of(calibrating), []
    promised = drift.promised
    assert promised is not None
    parted = dict.fromkeys(WINDOWS, False)
    for share in (0.05, 0.4, 0.0, 0.05):
        for rejected in rng.random(1100) < share:
            seen.append(bool(rejected))
            told, warns = drift.add(bool(rejected)), False
            for window in WINDOWS:
                last = seen[-window:]
                assert drift.share(window) == sum(last) / len(last)
                if len(seen) >= window:
                    count = sum(last)
                    now = parts(count, window, promised.low, promised.high)
                    warns |= now and not parted[window]
                    back = promised.low <= count / window <= promised.high
                    parted[window] = now or (parted[window] and not back)
            assert bool(told) == warns
    assert f"{100 * drift.share(1000):.1f} % of the last 1,000" in drift.sentence()  # type: ignore[operator]


@pytest.mark.parametrize("calibrating", [19, 100, 200])
def test_it_hardly_ever_warns_without_reason(calibrating: int) -> None:
    """A warning a day, which nobody reads any more. Each detector has the true share that its calibration drew."""
    rng = np.random.default_rng(0)
    warned = 0
    for _ in range(60):
        drift = drift_of(calibrating)
        rank = min(int(np.ceil(0.95 * (calibrating + 1))), calibrating)
        share = beta.rvs(calibrating - rank + 1, rank, random_state=rng)
        warned += any(drift.add(bool(rejected)) for rejected in rng.random(2000) < share)
    assert warned <= 3


def test_it_warns_once() -> None:
    """A warning on every line; a second drift that is not told because there was a first."""
    drift = drift_of(100)
    once = [told for told in map(drift.add, [True] * 300) if told]
    assert len(once) == 1 and "of the last 100 images were rejected" in once[0] and "7.9 %" not in drift.sentence()
    calm = [drift.add(row % 20 == 0) for row in range(3000)]
    again = [told for told in map(drift.add, [True] * 300) if told]
    assert len([told for told in calm if told]) <= 1 and again


def test_without_a_promise_nothing_is_broken() -> None:
    """A warning of a detector that has no threshold; a division by no images."""
    drift = Drift(None)
    assert "Nothing was judged" in drift.sentence() and drift.share(100) is None
    assert not any(map(drift.add, [True] * 1500)) and "no image calibrates" in drift.sentence()
