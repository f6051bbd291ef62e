"""What a run says while it computes: one frozen class for each kind of line in `events.jsonl`.

Numbers are plain; one that is undefined (an AUROC of a test set with a single class) is `None`, never NaN.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar, TypeVar

from panda_core.errors import PandaError
from panda_core.records import plain

MASKS = "masks"  # in place of a split: masks that are not used
FORMER_NAMES = {"Segmented": "SegmentationEvaluated"}  # kinds of lines as older versions called them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """A line of the log. `time` is in seconds since 1970."""

    time: float = dataclasses.field(default_factory=time.time)
    kinds: ClassVar[dict[str, type[Event]]] = {}

    def __init_subclass__(cls) -> None:
        Event.kinds[cls.__name__] = cls

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this line, its kind under "event"."""
        return {"event": type(self).__name__, **plain(dataclasses.asdict(self))}

    @staticmethod
    def from_json(record: dict[str, Any]) -> Event | None:
        """Return the event of a JSON object, or None for a kind this version does not know.

        A line that lacks a field raises `PandaError`.
        """
        name = str(record.get("event"))
        kind = Event.kinds.get(FORMER_NAMES.get(name, name))
        if kind is None:
            return None
        names = {field.name for field in dataclasses.fields(kind)}
        try:
            return kind(**{name: value for name, value in record.items() if name in names})
        except TypeError:
            absent = ", ".join(sorted(names - set(record)))
            raise PandaError(f"A line of kind `{kind.__name__}` lacks {absent}: another version wrote it.") from None


T = TypeVar("T")
# A long computation. It yields events, and None where it has nothing to say but may be stopped (about once a batch),
# and returns its result, for `yield from`. Whoever drives it stops it by closing it; nothing in it knows of stopping.
Computing = Generator[Event | None, None, T]


def quietly(computing: Computing[T]) -> Computing[T]:
    """Return the same computation without its events: it may be stopped at the same moments."""
    with contextlib.closing(computing):
        while True:
            try:
                next(computing)
            except StopIteration as end:
                result: T = end.value
                return result
            yield None


def result_of(computing: Computing[T], show: Callable[[Event], object] = lambda event: None) -> T:
    """Return the result of a computation, run to its end. show: called with each of its events."""
    while True:
        try:
            event = next(computing)
        except StopIteration as end:
            result: T = end.value
            return result
        if event is not None:
            show(event)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The first line: the run's id and its configuration, every default written out."""

    run_id: str
    config: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheProgress(Event):
    """`done` of `total` images of `split` have passed the frozen trunk (or were found in the cache)."""

    split: str
    done: int
    total: int


def progress_at(split: str, done: int, total: int, lines: int = 20) -> CacheProgress | None:
    """Return the progress after `done` of `total` steps where one of about `lines` lines is due, else None."""
    due = done % max(1, total // lines) == 0 or done == total
    return CacheProgress(split=split, done=done, total=total) if due else None


def mask_of(name: str) -> str:
    """Return what the mask of an image is called where it is not used."""
    return f"mask of {name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagesSkipped(Event):
    """Files that take no part: how many, which, and why.

    `split`: train, test and others of a run for images that could not be decoded; `MASKS` for masks that are not used;
    `copies` for images that are copies of others; `folder` for what else lies in a folder of one's own.
    """

    split: str
    count: int
    names: list[str]
    reasons: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataNoted(Event):
    """Something about the data, or the size at which they are seen, that stops nothing: a sentence, the next step."""

    told: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stepped(Event):
    """One optimiser step was made. `loss` is the total loss of its batch, before the step."""

    step: int
    images_seen: int
    loss: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """The curves at one step. Labels are used here, to draw them, and nowhere else.

    `spread` is the mean squared distance of the training features to the constant center (s_t of the paper);
    the two ratios are the same of normal and anomalous test images, divided by `spread`. `effective_rank` is
    that of the training features. `alarm` is what `panda_core.methods.alarm` says, without labels; older versions had
    other words. Label-free as well, and None in logs of older versions and where they cannot be measured:

    held_out_ratio: mean squared distance of held-out normal images divided by `spread`.
    neighbour_overlap: how much of the neighbourhoods of training images is as at step 0; 1 all, 0 what chance gives.
    stand_in_auroc: of held-out normal images against strange copies of themselves.
    rounding_margin: distance between near training images, in units of the rounding error of their features.

    whitened_auroc: at step 0 of a run that adapts in another space, what the whitened one gives without any adapting:
    the AUROC of the same scorer on the same images. None elsewhere, and in logs of older versions.
    """

    step: int
    images_seen: int
    auroc: float | None
    auroc_low: float | None
    auroc_high: float | None
    center_auroc: float | None
    spread: float
    normal_ratio: float | None
    anomalous_ratio: float | None
    effective_rank: float
    alarm: str
    seconds: float
    held_out_ratio: float | None = None
    neighbour_overlap: float | None = None
    stand_in_auroc: float | None = None
    rounding_margin: float | None = None
    whitened_auroc: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationEvaluated(Event):
    """A segmentation run has compared the test images with normal patches of the network at `step`.

    `image_auroc` is of the image scores; the pixel metrics are of all test images whose defects are marked, pooled,
    and of the normal ones. `oracle_pixel_f1` is the best F1 of any threshold, chosen with the masks.
    """

    step: int
    image_auroc: float | None
    image_auroc_low: float | None
    image_auroc_high: float | None
    pixel_auroc: float | None
    aupro: float | None
    pixel_average_precision: float | None
    oracle_pixel_f1: float | None
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointSaved(Event):
    """The adapted part at `step` lies in the run folder under `path`; the run can be resumed from here."""

    step: int
    path: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The last line of a run that reached its end. Metrics named `oracle_*` were chosen with test labels."""

    metrics: dict[str, Any]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStopped(Event):
    """The run was stopped on request; everything before this line is complete."""

    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFailed(Event):
    """The run could not go on; `reason` is one sentence with the next step."""

    reason: str
