"""What a run is doing, in words, from its events: no number here is not in the run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from panda_core.events import CacheProgress, Evaluated, Event, RunStarted, Stepped

_READING = {
    "train": "reading normal images",
    "test": "reading test images",
    "fisher": "finding out which weights matter (Fisher)",
}


@dataclasses.dataclass(frozen=True)
class Progress:
    """stage: a few words. fraction: of this stage, in [0, 1]. seconds_left: None while nobody can know."""

    stage: str
    fraction: float
    seconds_left: float | None = None


def waiting(ahead: int) -> Progress:
    """Return the progress of a run that has not begun; ahead: how many others come first."""
    if not ahead:
        return Progress("starting", 0.0)
    return Progress(f"waiting: {ahead} run{'' if ahead == 1 else 's'} ahead", 0.0)


def progress_of(events: Sequence[Event], steps: int) -> Progress:
    """Return what a computing run is doing, judged by its events so far; steps: where it ends."""
    last = next((event for event in reversed(events) if isinstance(event, (Stepped, Evaluated, CacheProgress))), None)
    if last is None:
        return Progress("loading the network", 0.0)
    if isinstance(last, CacheProgress):
        return _reading(last, events)
    if last.step >= steps:
        return Progress("working out the final scores", 1.0)
    first = next((event for event in events if isinstance(event, Evaluated)), last)
    left = None
    if last.step > first.step:
        left = (last.time - first.time) / (last.step - first.step) * (steps - last.step)
    return Progress(f"adapting: step {last.step} of {steps}", last.step / max(steps, 1), left)


def _reading(last: CacheProgress, events: Sequence[Event]) -> Progress:
    stage = _READING.get(last.split, f"reading {last.split} images")
    if last.done >= last.total:
        return Progress("measuring the unadapted network", 1.0)
    same = [event for event in events if isinstance(event, CacheProgress) and event.split == last.split]
    begun = same[0]
    left = None
    if last.done > begun.done:
        left = (last.time - begun.time) / (last.done - begun.done) * (last.total - last.done)
    elif isinstance(events[0], RunStarted) and last.done and last.time > events[0].time:
        left = (last.time - events[0].time) / last.done * (last.total - last.done)
    return Progress(f"{stage}: {last.done} of {last.total}", last.done / max(last.total, 1), left)
