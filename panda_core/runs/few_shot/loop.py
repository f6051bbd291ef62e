"""The loop of a run that generalises, a generator: learn from seen classes, draw references, judge a new class.

It yields events and what is to be saved; `panda_core.runs.run` writes both down. Nothing is chosen with the new
class: neither when training ends nor any threshold. The released code measures the new class after every epoch.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from panda_core.datasets import split_digest
from panda_core.errors import PandaError
from panda_core.events import Computing, DataNoted, RunFinished
from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.residuals import References
from panda_core.few_shot.scorer import ReferenceScorer, calibrate
from panda_core.few_shot.trainer import ResidualTrainer
from panda_core.metrics import auroc
from panda_core.runs.data import original_rows
from panda_core.runs.few_shot.data import FewShotPlan, SeenClass
from panda_core.runs.few_shot.features import (
    DrawnReferences,
    Features,
    ReadFeatures,
    draw_references,
    read_features,
    read_seen,
)
from panda_core.runs.folder import CHECKPOINTS
from panda_core.runs.saving import TakingPart
from panda_core.runs.segment.loop import Mapping, Tested, record_step
from panda_core.runs.segment.reading import BATCH, ReadRows
from panda_core.runs.tensors import REFERENCES
from panda_core.segmentation.geometry import side_note
from panda_core.segmentation.results import PatchResult


@dataclasses.dataclass(frozen=True)
class Draws:
    """The new class compared with several draws of references.

    references, result: of the first draw. metrics: AUROC of each draw, with the model and without any training.
    """

    references: DrawnReferences
    result: PatchResult
    metrics: list[dict[str, float | None]]


def learn_new_class(plan: FewShotPlan) -> Mapping:
    """Yield all events of such a run but the first, each snapshot before the event that refers to it.

    Between batches None is yielded: it may be closed there.
    """
    began = time.monotonic()
    config, step = plan.config, int(plan.config.steps or 0)
    if (told := side_note(int(config.image_size or 0))) is not None:
        yield DataNoted(told=told)
    model = ResidualModel(config, plan.network, plan.levels, plan.device)
    seen, held_out, owners = yield from read_seen(plan, model)
    trainer = ResidualTrainer(
        model, seen, steps=step, batch_size=int(config.batch_size or 1), lr=float(config.lr or 0), seed=config.seed
    )
    trainer.measure_residuals()
    yield from trainer.run()
    started = time.monotonic()
    calibrating = yield from _calibrating(plan, model, trainer.references_of_all(owners), held_out)
    originals, judged = yield from original_rows(config.dataset, plan.task)
    test = yield from read_features(model, plan.task.test.subset(judged), "test")
    if not len(test.rows):
        raise PandaError("None of the test images could be decoded. Check the files.")
    test = dataclasses.replace(test, rows=judged[test.rows])
    draws = yield from _draw(plan, model, test, originals)
    tested = Tested.of(plan, draws.result, ReadRows(test.rows, test.skipped))
    yield from tested.told()
    yield TakingPart(
        train=draws.references.rows,
        test=tested.rows,
        is_anomaly=tested.is_anomaly,
        fitted=np.arange(len(draws.references.rows)),
        held_out=np.zeros(0, int),
        skipped=[*draws.references.skipped, *tested.skipped, *tested.masks],
        has_mask=tested.has_mask,
    )
    references = {f"{REFERENCES}{level}": part for level, part in enumerate(draws.references.features)}
    tensors = {**model.tensors(), **references}
    scores, grids = calibrating.scores, calibrating.grids
    metrics = yield from record_step(plan, step, tested, scores, grids, tensors, started, CHECKPOINTS)
    metrics |= {
        "unadapted_auroc": draws.metrics[0]["residual_auroc"],  # raw residuals' length, before anything is learned
        "recall": 1.0,
        "draws": draws.metrics,
        "seen": {one.name: _about(one) for one in plan.seen},
        "seen_sha256": {one.name: split_digest(one.normals) for one in plan.seen},
    }
    yield RunFinished(metrics=metrics, seconds=time.monotonic() - began)


def _calibrating(
    plan: FewShotPlan, model: ResidualModel, references: list[References], held_out: list[torch.Tensor]
) -> Computing[PatchResult]:
    """Return what the model, now calibrated, makes of held-out images of seen classes, each with its references.

    held_out: (N, h, w, C) for each level; references: one for each of the N images.
    """
    calibrate(model, held_out, references)
    results = []
    for row, known in enumerate(references):
        yield None
        scorer = ReferenceScorer(model, known, plan.config.set)
        results.append(scorer.segment([level[row : row + 1] for level in held_out]))
    return PatchResult.joined(results)


def _draw(plan: FewShotPlan, model: ResidualModel, test: ReadFeatures, originals: np.ndarray) -> Computing[Draws]:
    """Return the test images compared with as many draws of references as the run asks for, among `originals`."""
    labels, first = plan.task.is_anomaly[test.rows], int(plan.option("draw"))
    metrics: list[dict[str, float | None]] = []
    chosen: tuple[DrawnReferences, PatchResult] | None = None
    for draw in range(int(plan.option("draws"))):
        drawn = draw_references(plan, model, first + draw, originals)
        scorer = ReferenceScorer(model, References([part.to(plan.device) for part in drawn.features]), plan.config.set)
        results, lengths = [], []
        for part in _parts(test.features, plan.device):
            yield None
            results.append(scorer.segment(part))
            lengths.append(scorer.lengths(part))
        result = PatchResult.joined(results)
        untrained = auroc(np.concatenate(lengths), labels)
        metrics.append({"image_auroc": auroc(result.scores, labels), "residual_auroc": untrained})
        chosen = chosen or (drawn, result)
    if chosen is None:
        raise PandaError("At least one draw of references is needed. Set `--set draws=1`.")
    return Draws(*chosen, metrics)


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
