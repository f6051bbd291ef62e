"""Lines of the log and back."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from panda_core.errors import PandaError
from panda_core.events import (
    CacheProgress,
    CheckpointSaved,
    DataNoted,
    Evaluated,
    Event,
    ImagesSkipped,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    SegmentationEvaluated,
    Stepped,
)

EVALUATED = Evaluated(
    step=0,
    images_seen=0,
    auroc=0.75,
    auroc_low=0.5,
    auroc_high=1.0,
    center_auroc=None,
    spread=0.1,
    normal_ratio=1.0,
    anomalous_ratio=None,
    effective_rank=3.0,
    alarm="adapting",
    seconds=0.5,
)
EVENTS = [
    RunStarted(run_id="a", config={"set": {"k": 2}}),
    CacheProgress(split="train", done=1, total=2),
    ImagesSkipped(split="test", count=1, names=["a ☃.png"], reasons=["text"]),
    DataNoted(told="Set `--set range=data`."),
    Stepped(step=1, images_seen=32, loss=0.25),
    EVALUATED,
    SegmentationEvaluated(
        step=0,
        image_auroc=0.9,
        image_auroc_low=0.8,
        image_auroc_high=1.0,
        pixel_auroc=None,
        aupro=None,
        pixel_average_precision=None,
        oracle_pixel_f1=None,
        seconds=0.5,
    ),
    CheckpointSaved(step=0, path="checkpoints/000000.safetensors"),
    RunFinished(metrics={"auroc": None}, seconds=2.0),
    RunStopped(reason="on request"),
    RunFailed(reason="the disk is full"),
]


def test_every_kind_is_tried_here() -> None:
    """A new kind of event that no test has ever read back."""
    assert {type(event).__name__ for event in EVENTS} == set(Event.kinds)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_its_line(event: Event) -> None:
    """A field that is written under another name than it is read."""
    record = json.loads(json.dumps(event.to_json(), allow_nan=False))
    assert record["event"] == type(event).__name__
    assert record["time"] > 1.7e9
    assert Event.from_json(record) == event


def test_an_undefined_number_is_null() -> None:
    """NaN in the log, which is no JSON."""
    record = dataclasses.replace(EVALUATED, spread=math.nan, auroc=math.inf).to_json()
    assert record["spread"] is None and record["auroc"] is None


def test_lines_of_a_later_version() -> None:
    """A viewer that breaks on a kind of event, or a field, which it does not know."""
    assert Event.from_json({"event": "Celebrated", "time": 1.0}) is None
    assert Event.from_json({"time": 1.0}) is None
    assert Event.from_json({**EVALUATED.to_json(), "mood": "good"}) == EVALUATED


def test_a_line_without_a_field_is_an_error_that_names_it() -> None:
    """A traceback from the log of a version that did not yet write a field."""
    with pytest.raises(PandaError, match=r"`Stepped`.*loss"):
        Event.from_json({"event": "Stepped", "time": 1.0, "step": 1, "images_seen": 3})


def test_a_log_of_an_older_version_is_read() -> None:
    """Maps of older runs that nobody shows, because a line is called otherwise today."""
    event = SegmentationEvaluated(
        step=0,
        image_auroc=0.9,
        image_auroc_low=None,
        image_auroc_high=None,
        pixel_auroc=None,
        aupro=None,
        pixel_average_precision=None,
        oracle_pixel_f1=None,
        seconds=1.0,
    )
    assert event.to_json()["event"] == "SegmentationEvaluated"
    assert Event.from_json({**event.to_json(), "event": "Segmented"}) == event
