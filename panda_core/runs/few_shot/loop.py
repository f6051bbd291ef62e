"""The loop of a run that generalises, a generator: learn from seen classes, draw references, judge a new class.

It yields events and what is to be saved; `panda_core.runs.run` writes both down. Nothing is chosen with the new
class: neither when training ends nor any threshold. The released code measures the new class after every epoch.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch

from panda_core.backbones import find_backbone
from panda_core.datasets import OneClassTask, split_digest
from panda_core.errors import PandaError, UsageError
from panda_core.events import Event, RunFinished, Stepped
from panda_core.few_shot.judging import Judge, calibrate
from panda_core.few_shot.learning import Learner
from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.residuals import References
from panda_core.metrics import auroc
from panda_core.runs.calibration import calibrated, warning_of
from panda_core.runs.few_shot.data import GeneralPlan, SeenClass, check_disjoint, only_new, open_seen
from panda_core.runs.few_shot.features import Features, draw_references, read_features, read_seen
from panda_core.runs.few_shot.settings import levels_used, resolve_generalisation
from panda_core.runs.plan import choose_device, open_task
from panda_core.runs.segment.loop import BATCH, SegmentSnapshot, SegmentStart, joined
from panda_core.runs.segment.metrics import find_marked, measured, measured_kinds
from panda_core.segmentation.maps import highest


def prepare_generalisation(config: Any, task: OneClassTask | None = None) -> GeneralPlan:
    """Return the plan of `config`: data opened, network loaded. Raises where training and test share anything."""
    config = resolve_generalisation(config)
    device = choose_device(config.device)
    seen = open_seen(config)
    task = only_new(config, open_task(config) if task is None else task)
    check_disjoint(seen, task)
    wanted = int(config.set["references"])
    if len(task.train) < wanted:
        raise UsageError(
            f"`references` must be at most {len(task.train)}, the normal images of `{config.normal_class}` that are "
            f"not tested on; got {wanted}. Set `--set references={len(task.train)}`."
        )
    network = find_backbone(config.backbone).load(str(config.set["cut"])).to(device)
    config = config.replace(set={**config.set, "cut": network.cut})
    levels = levels_used(config, network.stages, network.levels, network.cut)
    return GeneralPlan(config, network, task, device, levels, (int(config.steps),), seen)


def generalise(plan: GeneralPlan) -> Generator[Event | SegmentStart | SegmentSnapshot | None, None, None]:
    """Yield all events of such a run but the first, each snapshot before the event that refers to it.

    Between batches None is yielded: it may be closed there.
    """
    began = time.monotonic()
    config, step = plan.config, int(plan.config.steps or 0)
    model = new_model(plan)
    seen, held_out, owners = yield from read_seen(plan, model)
    learner = Learner(
        model, seen, steps=step, batch_size=int(config.batch_size or 1), lr=float(config.lr or 0), seed=config.seed
    )
    learner.measure_residuals()
    images_seen = 0
    for number, loss in enumerate(learner.run(), 1):
        images_seen += min(int(config.batch_size or 1), len(seen.normal))
        if not np.isfinite(loss):
            raise PandaError(f"The loss is no number at step {number}. Set a smaller `--lr`, for instance 0.0003.")
        yield Stepped(step=number, images_seen=images_seen, loss=loss)
    started = time.monotonic()
    known = learner.references_of_all(owners)
    calibrate(model, held_out, known)
    of_seen = [
        Judge(model, known[place], config.set).segment([level[place : place + 1] for level in held_out])
        for place in range(len(owners))
    ]
    grids, scores = joined(of_seen).grids, joined(of_seen).scores
    test = yield from read_features(model, plan.task.test, "test")
    if not len(test.rows):
        raise PandaError("None of the test images could be decoded. Check the files.")
    labels = plan.task.is_anomaly[test.rows]
    marked, unreadable = find_marked(plan.task.masks, test.rows, plan.task.test.names)
    draws: list[dict[str, float | None]] = []
    for draw in range(int(config.set["draws"])):
        drawn = draw_references(plan, model, int(config.set["draw"]) + draw)
        judge = Judge(model, References([part.to(plan.device) for part in drawn.features]), config.set)
        judged = joined([judge.segment(part) for part in _parts(test.features, plan.device)])
        alone = np.concatenate([judge.lengths(part) for part in _parts(test.features, plan.device)])
        draws.append({"image_auroc": auroc(judged.scores, labels), "residual_auroc": auroc(alone, labels)})
        if draw == 0:
            said, chosen = judged, drawn
        yield None
    yield SegmentStart(
        train=chosen.rows,
        test=test.rows,
        held_out=np.zeros(0, int),
        bank=np.arange(len(chosen.rows)),
        is_anomaly=labels,
        has_mask=marked,
        skipped=[*chosen.skipped, *test.skipped, *unreadable],
    )
    sigma = float(config.set["sigma"])
    verdicts = calibrated(scores, warning_of(len(scores)), grids=grids, size=model.image_size, sigma=sigma)
    groups = range(len(plan.levels))
    maps = {"grids": said.grids, "held_out_grids": grids}
    maps |= {f"distances_{group}": said.distances[group] for group in groups}
    maps |= {f"origins_{group}": said.origins[group] for group in groups}
    arrays = {"scores": said.scores, "held_out_scores": scores, "normaliser": np.array(scores.mean())}
    references = {f"references.{level}": part for level, part in enumerate(chosen.features)}
    yield SegmentSnapshot(
        step,
        {**model.tensors(), **references},
        {**arrays, "peaks": highest(said.grids, model.image_size, sigma)},
        maps,
        verdicts,
        "checkpoints",
    )
    event = measured(plan, step, said, test.rows, marked, started)
    yield event
    metrics = {
        "image_auroc": event.image_auroc,
        "auroc": event.image_auroc,
        "auroc_low": event.image_auroc_low,
        "auroc_high": event.image_auroc_high,
        "unadapted_auroc": draws[0]["residual_auroc"],  # the length of raw residuals, before anything is learned
        "pixel_auroc": event.pixel_auroc,
        "aupro": event.aupro,
        "pixel_average_precision": event.pixel_average_precision,
        "oracle_pixel_f1": event.oracle_pixel_f1,
        "stop_step": step,
        "score_threshold": verdicts.threshold(),
        "map_middle": verdicts.map_middle,
        "recall": 1.0,
        "marked_images": int(marked.sum()),
        "kinds": measured_kinds(plan, said.grids, said.scores, test.rows, marked),
        "draws": draws,
        "seen": {one.name: _about(one) for one in plan.seen},
        "seen_sha256": {one.name: split_digest(one.normals) for one in plan.seen},
    }
    yield RunFinished(metrics=metrics, seconds=time.monotonic() - began)


def _about(one: SeenClass) -> dict[str, Any]:
    return {
        "normals": len(one.normals),
        "anomalies": 0 if one.anomalies is None else len(one.anomalies),
        "anomalies_are": one.how,
    }


def _parts(features: Features, device: torch.device) -> Iterator[list[torch.Tensor]]:
    """Yield the features of a few images at a time, on the device."""
    for start in range(0, len(features[0]), BATCH):
        yield [torch.from_numpy(level[start : start + BATCH].astype(np.float32)).to(device) for level in features]


def new_model(plan: GeneralPlan) -> ResidualModel:
    """Return the untrained model of a plan."""
    return ResidualModel(plan.config, plan.network, plan.levels, plan.device)
