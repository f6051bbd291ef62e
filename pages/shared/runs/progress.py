"""What a run is doing, in words, from its events: no number here is not in the run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from panda_core.events import CacheProgress, Evaluated, Event, RunStarted, SegmentationEvaluated, Stepped

_READING = {
    "train": "reading normal images",
    "test": "reading test images",
    "background": "reading images of anything",
    "fisher": "finding out which weights matter (Fisher)",
}


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    stage: a few words.
    fraction: of this stage, in [0, 1].
    seconds_left: None while nobody can know.
    """

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


def progress_of_segmentation(events: Sequence[Event], networks: int) -> Progress:
    """Return what a computing segmentation run is doing; networks: how many checkpoints it compares with in turn."""
    done = sum(isinstance(event, SegmentationEvaluated) for event in events)
    which = f"network {min(done + 1, networks)} of {networks}: " if networks > 1 else ""
    last = events[-1] if events else None
    if isinstance(last, SegmentationEvaluated):
        if done >= networks:
            return Progress("measuring each kind of defect", 1.0)
        return Progress(f"{which}reading normal images", 0.0)
    if not isinstance(last, CacheProgress):
        return Progress("loading the network", 0.0)
    if last.done >= last.total:
        after = "learning what is normal" if last.split == "train" else "measuring"
        return Progress(which + after, 1.0)
    # An earlier network's reading of the same images is over: only what came after it tells the speed.
    since = max((index for index, event in enumerate(events) if isinstance(event, SegmentationEvaluated)), default=-1)
    stage = "comparing test images" if last.split == "test" else "reading normal images"
    return _counted(f"{which}{stage}", last, events[since + 1 :])


def progress_of_generalisation(events: Sequence[Event], steps: int) -> Progress:
    """Return what a run that trains for new classes is doing; steps: where its training ends."""
    last = events[-1] if events else None
    if isinstance(last, Stepped):
        first = next(event for event in events if isinstance(event, Stepped))
        left = None
        if last.step > first.step:
            left = (last.time - first.time) / (last.step - first.step) * (steps - last.step)
        return Progress(f"training: step {last.step} of {steps}", last.step / max(steps, 1), left)
    if not isinstance(last, CacheProgress):
        return Progress("loading the network", 0.0)
    if last.done >= last.total:
        return Progress("judging the new class" if last.split == "test" else "starting to train", 1.0)
    stage = {"test": "reading the new class", "seen anomalies": "reading anomalies of seen classes"}
    return _counted(stage.get(last.split, "reading seen classes"), last, events)


def _reading(last: CacheProgress, events: Sequence[Event]) -> Progress:
    if last.done >= last.total:
        return Progress("measuring the unadapted network", 1.0)
    return _counted(_READING.get(last.split, f"reading {last.split} images"), last, events)


def _counted(stage: str, last: CacheProgress, events: Sequence[Event]) -> Progress:
    """Return "stage: 5 of 9" and the time left, judged by the events of this stage."""
    same = [event for event in events if isinstance(event, CacheProgress) and event.split == last.split]
    begun = same[0]
    left = None
    if last.done > begun.done:
        left = (last.time - begun.time) / (last.done - begun.done) * (last.total - last.done)
    elif isinstance(events[0], RunStarted) and last.done and last.time > events[0].time:
        left = (last.time - events[0].time) / last.done * (last.total - last.done)
    return Progress(f"{stage}: {last.done} of {last.total}", last.done / max(last.total, 1), left)
