"""What an adaptation keeps of itself on disk, and how it is taken up again from there."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from panda_core.events import CheckpointSaved, Evaluated, Event
from panda_core.records import read_lines, write_atomically, write_json
from panda_core.runs.adapt.background import BackgroundRows
from panda_core.runs.adapt.evaluate import Measured, Space
from panda_core.runs.adapt.inputs import Inputs
from panda_core.runs.adapt.layers import summed_by_layer
from panda_core.runs.adapt.settings import AdaptPlan
from panda_core.runs.arrays import AdaptArrays
from panda_core.runs.folder import RunFolder
from panda_core.runs.saving import TakingPart
from panda_core.runs.settings import Plan
from panda_core.runs.tensors import read_head, read_momentum, read_space, read_tail, write_tensors


@dataclasses.dataclass(frozen=True)
class Start:
    """The inputs and the space of a run, said once before its first step."""

    inputs: Inputs
    space: Space

    def save(self, folder: RunFolder, plan: Plan) -> None:
        """Write the space, which images take part, and how much each layer matters to the pretrained network."""
        inputs = self.inputs
        write_tensors(folder.space_file, self.space.tensors())
        TakingPart(
            train=inputs.train.image_rows,
            test=inputs.test.image_rows,
            is_anomaly=inputs.is_anomaly,
            fitted=inputs.train_rows,
            held_out=inputs.calibration_rows,
            skipped=(*inputs.train.skipped, *inputs.test.skipped),
            fisher=inputs.fisher_source,
        ).save(folder, plan)
        if inputs.penalty is not None and inputs.penalty.importance is not None:
            sums = {name: float(value.sum()) for name, value in inputs.penalty.importance.items()}
            write_json(folder.fisher_file, summed_by_layer(sums))


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that is saved at one step.

    tail: of the network's tail, and what the recipe keeps beside it, by name.
    momentum: what the optimiser remembers, by "slot/parameter name".
    gallery: (N, D') features of the images that are learned from.
    background: what the scorer compares with besides; None: nothing.
    """

    step: int
    tail: dict[str, Tensor]
    momentum: dict[str, Tensor]
    gallery: Tensor
    background: BackgroundRows | None
    arrays: AdaptArrays

    def save(self, folder: RunFolder, plan: Plan) -> None:
        """Write arrays, gallery, momentum and, last, the checkpoint."""
        self.arrays.write(folder.arrays_file(self.step))
        beside = {} if self.background is None else self.background.tensors()
        write_tensors(folder.gallery(self.step), {"features": self.gallery, **beside})
        write_tensors(folder.momentum(self.step), self.momentum)
        write_tensors(folder.checkpoint(self.step), self.tail)


@dataclasses.dataclass(frozen=True)
class Resumed:
    """Where an interrupted run goes on: after the checkpoint of `step`, with all that was measured until then."""

    step: int
    images_seen: int
    tail: dict[str, Tensor]
    head: dict[str, Tensor]
    momentum: dict[str, Tensor]
    space: dict[str, Tensor]
    history: list[Measured]
    seconds: float


def last_checkpoint(folder: RunFolder, plan: AdaptPlan) -> Resumed | None:
    """Return where to go on, and cut the log after that point; None if there is no such point."""
    records = list(read_lines(folder.log_file))
    evaluated: list[Evaluated] = []
    lines, measurements, step = 0, 0, -1  # of the log up to the last checkpoint that can be gone on from
    for number, (record, _) in enumerate(records, 1):
        event = Event.from_json(record)
        if isinstance(event, Evaluated):
            evaluated.append(event)
        elif isinstance(event, CheckpointSaved) and folder.momentum(event.step).exists():
            lines, measurements, step = number, len(evaluated), event.step
    if step < 0:
        return None
    evaluated = evaluated[:measurements]
    checkpoint = folder.checkpoint(step)
    resumed = Resumed(
        step=step,
        images_seen=evaluated[-1].images_seen,
        tail=read_tail(checkpoint, plan.network),
        head=read_head(checkpoint),
        momentum=read_momentum(folder.momentum(step)),
        space=read_space(folder.space_file, plan.network, str(plan.config.feature_norm)),
        history=[Measured(folder.adapt_arrays(event.step), event) for event in evaluated],
        seconds=evaluated[-1].time - float(records[0][0].get("time", evaluated[-1].time)),
    )
    content = folder.log_file.read_bytes()[: records[lines - 1][1]]
    write_atomically(folder.log_file, lambda file: file.write(content))
    return resumed
