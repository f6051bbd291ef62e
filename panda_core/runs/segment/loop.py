"""The one segmentation loop, a generator: fit to normal patches, compare the test images, measure.

It yields events and what is to be saved; `panda_core.runs.run` writes both down. With the checkpoints of an
adapted run it does so once for each: features sharpen, then blur as they collapse.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from torch import Tensor

from panda_core.datasets import Images
from panda_core.errors import PandaError, UnreadableImage, UsageError
from panda_core.events import CacheProgress, Computing, Event, ImagesSkipped, RunFinished
from panda_core.runs.calibration import Calibration, calibrated, warning_of
from panda_core.runs.plan import SegmentPlan
from panda_core.runs.segment.metrics import find_marked, measured, measured_kinds
from panda_core.runs.segment.settings import tail_file
from panda_core.runs.tensors import read_tail
from panda_core.segmentation.calibration import CalibratedBank, fit_calibrated
from panda_core.segmentation.maps import highest
from panda_core.segmentation.model import Patches, PatchModel
from panda_core.segmentation.model import Segmented as Said

BATCH = 4  # images at once: with 16, their maps cost half as much again in page faults
_MEASURED = ("image_auroc", "pixel_auroc", "aupro", "pixel_average_precision", "oracle_pixel_f1")


@dataclasses.dataclass(frozen=True)
class SegmentStart:
    """Which images take part: rows of the train and test set that could be decoded, and the skipped ones."""

    train: np.ndarray
    test: np.ndarray
    held_out: np.ndarray
    bank: np.ndarray
    is_anomaly: np.ndarray
    has_mask: np.ndarray
    skipped: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class SegmentSnapshot:
    """Everything that is saved at one step; for `maps` see `panda_core.runs.loaded.LoadedRun.maps`.

    kept_in: the folder of the run in which `model` is saved.
    """

    step: int
    model: dict[str, Tensor]
    arrays: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]
    calibration: Calibration
    kept_in: str = "banks"


@dataclasses.dataclass(frozen=True)
class ReadRows:
    """Of the images of a split, the rows that could be decoded, and (name, reason) of the others."""

    rows: np.ndarray
    skipped: list[tuple[str, str]]


def segment(plan: SegmentPlan) -> Generator[Event | SegmentStart | SegmentSnapshot | None, None, None]:
    """Yield all events of a segmentation run but the first, each snapshot before the event that refers to it."""
    began = time.monotonic()
    metrics: dict[str, Any] = {}
    for place, step in enumerate(plan.steps):
        started = time.monotonic()
        model = model_of(plan, step)
        calibration, rows, skipped = yield from _learn(plan, model, first=place == 0)
        said, test_rows, test_skipped = yield from _compare(plan, model, first=place == 0)
        labels = plan.task.is_anomaly[test_rows]
        marked, unreadable = find_marked(plan.task.masks, test_rows, plan.task.test.names)
        if place == 0:
            if unreadable:
                names, reasons = map(list, zip(*unreadable, strict=True))
                yield ImagesSkipped(split="masks", count=len(names), names=names, reasons=reasons)
            yield SegmentStart(
                rows,
                test_rows,
                calibration.held_out,
                calibration.bank,
                labels,
                marked,
                [*skipped, *test_skipped, *unreadable],
            )
        verdicts = calibrated(
            calibration.scores,
            warning_of(len(calibration.scores)),
            grids=calibration.grids,
            size=model.image_size,
            sigma=float(model.options["sigma"]),
        )
        yield SegmentSnapshot(
            step,
            model.tensors(),
            {
                "scores": said.scores,
                "held_out_scores": calibration.scores,
                "normaliser": np.array(calibration.scores.mean()),
                "peaks": highest(said.grids, model.image_size, float(model.options["sigma"])),
            },
            _maps(said, calibration),
            verdicts,
        )
        event = measured(plan, step, said, test_rows, marked, started)
        yield event
        metrics = {
            **{name: getattr(event, name) for name in _MEASURED},
            "auroc": event.image_auroc,  # under the name that every other run has, so that lists compare
            "auroc_low": event.image_auroc_low,
            "auroc_high": event.image_auroc_high,
            "unadapted_auroc": metrics.get("unadapted_auroc") if place else event.image_auroc if step == 0 else None,
            "stop_step": step,
            "score_threshold": verdicts.threshold(),
            "map_middle": verdicts.map_middle,
            "recall": model.method.recall,
            "marked_images": int(marked.sum()),
            "kinds": measured_kinds(plan, said.grids, said.scores, test_rows, marked),
        }
    yield RunFinished(metrics=metrics, seconds=time.monotonic() - began)


def model_of(plan: SegmentPlan, step: int) -> PatchModel:
    """Return an unfitted model of the plan's network with the adapted weights of `step`, if there are any."""
    file = tail_file(plan.config, step)
    if file is not None:
        plan.network.tail.load_state_dict(read_tail(file, plan.network), strict=False)
    return PatchModel(plan.config, plan.network, plan.levels, plan.device)


def _learn(
    plan: SegmentPlan, model: PatchModel, first: bool
) -> Computing[tuple[CalibratedBank, np.ndarray, list[tuple[str, str]]]]:
    """Yield progress; return (calibration, rows, skipped) of a model fitted to the normal images."""
    parts: list[Patches] = []
    read = yield from read_batches(
        plan.task.train, "train", first, lambda images: parts.append(_checked(plan, model, images))
    )
    reserved = np.isin(read.rows, plan.task.reserved)
    if np.count_nonzero(~reserved) < 2:
        raise PandaError(
            f"Only {np.count_nonzero(~reserved)} normal image could be decoded; at least 2 are needed. Add images."
        )
    raw = Patches.joined(parts)
    parts.clear()
    bank = yield from fit_calibrated(model, raw, len(read.rows), reserved)
    return bank, read.rows, read.skipped


def _checked(plan: SegmentPlan, model: PatchModel, images: list[np.ndarray]) -> Patches:
    """Return the raw patches of normal images; refuse, before anything grows, what will not fit into memory."""
    if not model.widths:
        needed, limit = model.bytes_for(images[0], len(plan.task.train)), float(plan.config.set["memory_gb"]) * 1e9
        if needed > limit:
            most = max(2, int(len(plan.task.train) * limit / needed))
            raise UsageError(
                f"The patches of {len(plan.task.train)} normal images need {needed / 1e9:.1f} GB; `memory_gb` allows "
                f"{limit / 1e9:g}. Set `--train-limit {most}`, a smaller `--image-size`, or more `--set memory_gb=`."
            )
    return model.patches(images, model.turns)


def _compare(
    plan: SegmentPlan, model: PatchModel, first: bool
) -> Computing[tuple[Said, np.ndarray, list[tuple[str, str]]]]:
    """Yield progress; return (what the model says, rows, skipped) of the test images."""
    parts: list[Said] = []
    read = yield from read_batches(
        plan.task.test,
        "test",
        first,
        lambda images: parts.append(model.segment(model.in_space(model.patches(images)))),
    )
    if not parts:
        raise PandaError("None of the test images could be decoded. Check the files.")
    return joined(parts), read.rows, read.skipped


def joined(parts: list[Said]) -> Said:
    """Return what was said of several batches as one."""
    groups = range(len(parts[0].distances))
    return Said(
        np.concatenate([part.grids for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.whole for part in parts]),
        tuple(np.concatenate([part.distances[group] for part in parts]) for group in groups),
        tuple(np.concatenate([part.origins[group] for part in parts]) for group in groups),
    )


def read_batches(
    images: Images,
    split: str,
    first: bool,
    take: Callable[[list[np.ndarray]], None],
) -> Computing[ReadRows]:
    """Hand over decoded images in batches and yield progress; return which rows could be read.

    first: whether the skipped images are to be told; later steps of a run read the same ones.
    """
    rows: list[int] = []
    skipped: list[tuple[str, str]] = []
    yield CacheProgress(split=split, done=0, total=len(images))
    for start in range(0, len(images), BATCH):
        yield None
        decoded, end = [], min(start + BATCH, len(images))
        for index in range(start, end):
            try:
                decoded.append(images.load(index))
                rows.append(index)
            except UnreadableImage as error:
                skipped.append((images.names[index], str(error)))
        if decoded:
            take(decoded)
        if end == len(images) or (end // BATCH) % max(1, len(images) // (20 * BATCH)) == 0:
            yield CacheProgress(split=split, done=end, total=len(images))
    if skipped and first:
        names, reasons = map(list, zip(*skipped, strict=True))
        yield ImagesSkipped(split=split, count=len(names), names=names, reasons=reasons)
    return ReadRows(np.array(rows, np.int64), skipped)


def _maps(said: Said, calibration: CalibratedBank) -> dict[str, np.ndarray]:
    """Return what is saved below `maps/`: grids, and for each group the distances and places of nearest patches."""
    groups = range(len(said.distances))
    return {
        "grids": said.grids,
        "held_out_grids": calibration.grids,
        **{f"distances_{group}": said.distances[group] for group in groups},
        **{f"origins_{group}": said.origins[group] for group in groups},
    }
