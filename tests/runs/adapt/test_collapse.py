"""The paper's story on real images: adapted too fast, the features of anomalies fall onto those of normal images.

Two seeds by default; `PANDA_SLOW_TESTS=1` takes five, and twice as many steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig
from panda_core.events import Evaluated, Event, RunFinished, Stepped

SLOW = bool(os.environ.get("PANDA_SLOW_TESTS"))
SEEDS = range(5) if SLOW else range(2)


@pytest.fixture
def broken(finish: Callable[..., Any], tmp_path: Path) -> Callable[..., list[Event]]:
    """Return a function (recipe, seed) -> the events of a run whose learning rate is a hundred times too high."""

    def run(recipe: str, seed: int) -> list[Event]:
        config = RunConfig(
            dataset="digits",
            normal_class="3",
            recipe=recipe,
            feature_norm="l2",
            image_size=32,
            train_limit=60,
            test_limit=60,
            batch_size=16,
            steps=48 if SLOW else 24,
            eval_every=6,
            lr=20.0,
            seed=seed,
            set={"cut": "blocks.4"},
            runs_dir=str(tmp_path / "runs"),
            device="cpu",
        )
        return list(finish(config)[1])

    return run


def curve(events: list[Event], name: str) -> np.ndarray:
    return np.array([getattr(event, name) for event in events if isinstance(event, Evaluated)])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rate_far_too_high_breaks_the_features(broken: Callable[..., list[Event]], seed: int) -> None:
    """A "Break it" that breaks nothing; a loss that does not fall while it does; sample-wise stopping that does not
    help, although it may look at every checkpoint."""
    plain, stopped = broken("panda-early", seed), broken("panda-ses", seed)
    ratio = curve(plain, "anomalous_ratio")
    assert ratio[0] > 2.5, "at first, anomalies lie far from the normal images"
    assert ratio[-1] < 0.65 * ratio.max(), "at the end, nearly among them"
    losses = [event.loss for event in plain if isinstance(event, Stepped)]
    assert min(losses) < 0.8 * losses[0]
    np.testing.assert_array_equal(curve(stopped, "anomalous_ratio"), ratio)
    ends = [event.metrics["auroc"] for event in (plain[-1], stopped[-1]) if isinstance(event, RunFinished)]
    assert ends[1] >= ends[0] - 0.01
