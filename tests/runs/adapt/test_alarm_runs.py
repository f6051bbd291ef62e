"""Runs that the alarm stops: when they end, and which checkpoints they make their scores of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from panda_core import RunConfig, load_run
from panda_core.events import Evaluated, RunFinished
from panda_core.methods.alarm import COLLAPSING
from panda_core.runs.kinds import recompute

Finish = Callable[..., Any]
Tiny = Callable[..., RunConfig]
BROKEN = {"recipe": "panda-alarm", "train_limit": 60, "steps": 60, "eval_every": 2, "lr": 4.0, "set": {"clip": 1.0}}


def test_it_ends_at_the_alarm_and_asks_both_networks(tiny: Tiny, finish: Finish) -> None:
    """A run that goes on after the alarm, or whose scores are of one network alone."""
    folder, events = finish(tiny(**BROKEN))
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    metrics = next(event.metrics for event in events if isinstance(event, RunFinished))
    assert [event.alarm for event in evaluated].index(COLLAPSING) == len(evaluated) - 1
    assert evaluated[-1].step == metrics["alarm_step"] < 60
    assert metrics["stop_step"] == evaluated[-1].step
    first, last = (folder.arrays(step) for step in (0, evaluated[-1].step))
    expected = first["scores"] / first["normaliser"] + last["scores"] / last["normaliser"]
    np.testing.assert_allclose(folder.arrays("final")["scores"], expected / 2, rtol=1e-5)


def test_its_detector_and_its_check_use_both_checkpoints(tiny: Tiny, finish: Finish) -> None:
    """New images scored by other checkpoints than the test images of the run."""
    folder, _ = finish(tiny(**BROKEN))
    loaded = load_run(folder.path)
    final = folder.arrays("final")["scores"]
    np.testing.assert_allclose(recompute(loaded), final, rtol=1e-4)
    images = loaded.images("test")
    found = loaded.detector().anomaly_scores([images.load(row) for row in range(5)])
    np.testing.assert_allclose(found, final[:5], rtol=1e-3)


def test_without_an_alarm_it_runs_to_its_end(tiny: Tiny, finish: Finish) -> None:
    """A run that is stopped while nothing has moved."""
    _, events = finish(tiny(recipe="panda-alarm", train_limit=60, lr=1e-9))
    assert [event.step for event in events if isinstance(event, Evaluated)][-1] == 6
    assert events[-1].metrics["alarm_step"] is None


def test_adapted_images_are_not_held_out(tiny: Tiny, finish: Finish) -> None:
    """A ratio of "held-out" images that the network was adapted on."""
    _, events = finish(tiny(set={"calibrate_on": "train"}))
    assert {event.held_out_ratio for event in events if isinstance(event, Evaluated)} == {None}
