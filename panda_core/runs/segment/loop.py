"""The one segmentation loop, a generator: fit to normal patches, compare the test images, measure.

It yields events and what is to be saved; `panda_core.runs.run` writes both down. With the checkpoints of an
adapted run it does so once for each: features sharpen, then blur as they collapse.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from panda_core.errors import PandaError
from panda_core.events import MASKS, Computing, DataNoted, Event, ImagesSkipped, RunFinished
from panda_core.records import write_json
from panda_core.runs.arrays import FinalArrays, MapArrays, PatchArrays
from panda_core.runs.calibration import Calibration, calibrated, warning_of
from panda_core.runs.data import original_rows
from panda_core.runs.folder import BANKS, FINAL, RunFolder, step_file
from panda_core.runs.saving import Saved, TakingPart
from panda_core.runs.segment.learning import learn
from panda_core.runs.segment.metrics import find_marked, measured, measured_kinds
from panda_core.runs.segment.reading import ReadRows, read_batches
from panda_core.runs.segment.settings import SegmentPlan, tail_file
from panda_core.runs.settings import Plan
from panda_core.runs.tensors import read_tail, write_tensors
from panda_core.segmentation.detail import tiles_note
from panda_core.segmentation.geometry import side_note
from panda_core.segmentation.maps import highest
from panda_core.segmentation.model import PatchModel
from panda_core.segmentation.results import PatchResult
from panda_core.segmentation.tiles import drawing_of

KEPT = 10_000_000  # patches of a level of all test photos of which the nearest ones are kept: 600 MB

Mapping = Generator[Event | Saved | None, None, None]


@dataclasses.dataclass(frozen=True)
class Tested:
    """Test images that were compared with normal patches, in the order of `rows`.

    rows: (M,) of the task's test set, those that could be decoded.
    is_anomaly: (M,). has_mask: (M,) whether the defects of an image are marked.
    skipped, masks: (name, reason) of images that could not be decoded, and of masks that are not used.
    """

    result: PatchResult
    rows: np.ndarray
    is_anomaly: np.ndarray
    has_mask: np.ndarray
    skipped: list[tuple[str, str]]
    masks: list[tuple[str, str]]

    @staticmethod
    def of(plan: SegmentPlan, result: PatchResult, read: ReadRows) -> Tested:
        """Return the result beside what is known of its images; masks are looked at, to see which are there."""
        region, names = plan.network.preprocessing.region, plan.task.test.names
        has_mask, unused = find_marked(plan.task.masks, read.rows, names, region)
        is_anomaly = plan.task.is_anomaly[read.rows]
        return Tested(result, read.rows, is_anomaly, has_mask, read.skipped, unused)

    def told(self) -> Iterator[ImagesSkipped]:
        """Yield what is to be said of masks that are not used, if there are any."""
        if self.masks:
            names, reasons = map(list, zip(*self.masks, strict=True))
            yield ImagesSkipped(split=MASKS, count=len(names), names=names, reasons=reasons)


@dataclasses.dataclass(frozen=True)
class MapSnapshot:
    """Everything that is saved at one step of a run with maps.

    file: where below the run's folder `model` is saved, without the step: "banks" or "checkpoints".
    """

    step: int
    model: dict[str, Tensor]
    arrays: PatchArrays
    maps: MapArrays
    calibration: Calibration
    file: str = BANKS

    def save(self, folder: RunFolder, plan: Plan) -> None:
        """Write maps, model, arrays and calibration; the scores that count are those of the last step."""
        self.maps.write(folder.maps_file(self.step))
        write_tensors(folder.path / step_file(self.file, self.step), self.model)
        self.arrays.write(folder.arrays_file(self.step))
        write_json(folder.calibration_file, self.calibration.to_json())
        self.final.write(folder.arrays_file(FINAL))

    @property
    def final(self) -> FinalArrays:
        """The scores of this step, as those that count."""
        scores, held_out = self.arrays.scores, self.arrays.held_out_scores
        return FinalArrays(scores=scores, step=np.full(len(scores), self.step), held_out_scores=held_out)


def segment(plan: SegmentPlan) -> Mapping:
    """Yield all events of a segmentation run but the first, each snapshot before the event that refers to it."""
    began = time.monotonic()
    if (told := side_note(int(plan.config.image_size or 0))) is not None:
        yield DataNoted(told=told)
    if plan.photo is not None:
        yield DataNoted(told=tiles_note(plan.photo, int(plan.config.image_size or 0), plan.config.tiles))
    metrics: dict[str, Any] = {}
    originals, judged = yield from original_rows(plan.config.dataset, plan.task)
    for number, step in enumerate(plan.steps):
        started, first = time.monotonic(), number == 0
        model = model_of(plan, step)
        bank, train = yield from learn(plan, model, first, originals)
        tested = yield from _compare(plan, model, first, judged)
        if first:
            yield TakingPart(
                train=train.rows,
                test=tested.rows,
                is_anomaly=tested.is_anomaly,
                fitted=bank.bank,
                held_out=bank.held_out,
                skipped=[*train.skipped, *tested.skipped, *tested.masks],
                has_mask=tested.has_mask,
            )
        unadapted = metrics.get("unadapted_auroc")
        metrics = yield from record_step(plan, step, tested, bank.scores, bank.grids, model.tensors(), started)
        metrics["unadapted_auroc"] = unadapted if number else metrics["image_auroc"] if step == 0 else None
        metrics["recall"] = model.method.recall
    yield RunFinished(metrics=metrics, seconds=time.monotonic() - began)


def record_step(
    plan: SegmentPlan,
    step: int,
    tested: Tested,
    scores: np.ndarray,
    grids: np.ndarray,
    model: dict[str, Tensor],
    started: float,
    file: str = BANKS,
) -> Generator[Event | Saved | None, None, dict[str, Any]]:
    """Yield what is saved of a step and its event; return the metrics of a run that ends with it.

    scores, grids: (H,) and (H, g, g) of the images that calibrate. model, file: see `MapSnapshot`.
    started: when the step began, by the monotonic clock.
    """
    result, (size, sigma) = tested.result, drawing_of(plan.config)
    region = plan.network.preprocessing.region
    calibration = calibrated(scores, warning_of(len(scores)), grids=grids, size=size, sigma=sigma, region=region)
    arrays = PatchArrays(
        scores=result.scores,
        held_out_scores=scores,
        normaliser=np.array(scores.mean()),
        peaks=highest(result.grids, size, sigma, region),
    )
    maps = MapArrays(result.grids, grids, result.distances, result.origins, result.cells)
    yield MapSnapshot(step, model, arrays, maps, calibration, file)
    event = measured(plan, step, result, tested.rows, tested.has_mask, started)
    yield event
    return {
        "image_auroc": event.image_auroc,
        "pixel_auroc": event.pixel_auroc,
        "aupro": event.aupro,
        "pixel_average_precision": event.pixel_average_precision,
        "oracle_pixel_f1": event.oracle_pixel_f1,
        "auroc": event.image_auroc,  # under the name that every other run has, so that lists compare
        "auroc_low": event.image_auroc_low,
        "auroc_high": event.image_auroc_high,
        "stop_step": step,
        "score_threshold": calibration.threshold(),
        "calibration": calibration.summary(),
        "map_middle": calibration.map_middle,
        "marked_images": int(tested.has_mask.sum()),
        "kinds": measured_kinds(plan, result.grids, result.scores, tested.rows, tested.has_mask),
    }


def model_of(plan: SegmentPlan, step: int) -> PatchModel:
    """Return an unfitted model of the plan's network with the adapted weights of `step`, if there are any."""
    file = tail_file(plan.config, step)
    if file is not None:
        plan.network.tail.load_state_dict(read_tail(file, plan.network), strict=False)
    model = PatchModel(plan.config, plan.network, plan.levels, plan.device)
    if plan.photo is not None:
        model.cut(plan.photo)
        model.most_kept = min(model.most_kept, KEPT // max(1, len(plan.task.test)))
    return model


def _compare(plan: SegmentPlan, model: PatchModel, first: bool, judged: np.ndarray) -> Computing[Tested]:
    """Return what the model makes of the test images. judged: rows of those that are no copies."""
    results: list[PatchResult] = []
    read = yield from read_batches(
        plan.task.test.subset(judged),
        "test",
        first,
        lambda rows, images: results.append(model.predict_maps(images)),
    )
    if not results:
        raise PandaError("None of the test images could be decoded. Check the files.")
    tested = Tested.of(plan, PatchResult.joined(results), ReadRows(judged[read.rows], read.skipped))
    if first:
        yield from tested.told()
    return tested


def last_scores(items: Iterable[object]) -> FinalArrays:
    """Return the scores that a loop saves last, run to its end."""
    return [item for item in items if isinstance(item, MapSnapshot)][-1].final
