"""The one adaptation loop, a generator, for every recipe.

It yields events and what is to be saved, and touches no file of the run; `panda_core.runs.run` writes both down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.events import CheckpointSaved, Computing, Event, RunFinished, Stepped, quietly, result_of
from panda_core.methods.elastic import ElasticPenalty
from panda_core.methods.learner import Learner, LearnerConfig, TrainingData, batch_rows
from panda_core.methods.sgd import Optimiser
from panda_core.methods.stopping import end_reason, used_checkpoints
from panda_core.methods.table import find_learner
from panda_core.runs.adapt.evaluate import Evaluation, Features, Measured, Space
from panda_core.runs.adapt.inputs import Inputs, set_up
from panda_core.runs.adapt.results import Final, accuracies, final_metrics, final_scores, oracle_grid
from panda_core.runs.adapt.saved import Resumed, Snapshot, Start
from panda_core.runs.adapt.settings import AdaptPlan, prepare
from panda_core.runs.arrays import FinalArrays
from panda_core.runs.data import check_unchanged
from panda_core.runs.folder import CHECKPOINTS, step_file
from panda_core.runs.settings import check_others, check_weights
from panda_core.runs.tensors import HEAD, read_head, read_space, read_tail, tail_state

if TYPE_CHECKING:
    from panda_core.runs.reading import RecordedRun

STEPS_LOGGED = 200  # `Stepped` is thinned to about so many lines a run
FLOAT32 = "float32"
UNCHECKED = 50  # steps at most whose losses nobody has looked at
Adapting = Generator[Event | Start | Snapshot | Final | None, None, None]


def adapt(plan: AdaptPlan, resumed: Resumed | None = None) -> Adapting:
    """Yield all events of a run but the first, each `Snapshot` before the `Evaluated` that refers to it.

    Between batches None is yielded: it may be closed there. A loss that is not finite raises `PandaError` with the step
    and the likely cause.
    """
    began = time.monotonic() - (resumed.seconds if resumed else 0.0)
    # A resumed run has told of its inputs already.
    inputs = yield from (set_up(plan) if resumed is None else quietly(set_up(plan)))
    learner = new_learner(plan.config, plan.network, plan.device)
    try:
        if resumed is None:
            if plan.recipe.steps:
                yield from learner.pretrain(inputs.train.values, inputs.train_rows)
            space, features = yield from Space.fit(plan, inputs, learner)
            adaptation = Adaptation(plan, inputs, space, learner, features=features)
            yield Start(inputs, space)
        else:
            space = Space.from_tensors(plan, resumed.space)
            adaptation = Adaptation(plan, inputs, space, learner, resumed=resumed)
        yield from adaptation.run()
        yield from adaptation.end(began)
    finally:
        learner.close()


def new_learner(config: RunConfig, network: Network, device: torch.device) -> Learner:
    """Return the learner of a resolved config's recipe, which has learned nothing yet."""
    learner_config = LearnerConfig(
        network=network,
        options=config.set,
        image_size=int(config.image_size or 0),
        batch_size=int(config.batch_size or 0),
        steps=int(config.steps or 0),
        seed=config.seed,
        device=device,
    )
    return find_learner(config.recipe)(learner_config)


class Adaptation:
    """A network on its way: how far it has come, what was measured, and what the optimiser remembers.

    features: of both splits under the network as it is; None where they have to be computed.
    """

    def __init__(
        self,
        plan: AdaptPlan,
        inputs: Inputs,
        space: Space,
        learner: Learner,
        *,
        features: Features | None = None,
        resumed: Resumed | None = None,
    ) -> None:
        self.plan, self.inputs, self.learner, self.features = plan, inputs, learner, features
        self.evaluation = Evaluation(plan, inputs, space, learner)
        self.losses: list[Tensor] = []  # of the steps since they were last looked at, scalars
        self.history: list[Measured] = list(resumed.history) if resumed else []
        self.step, self.images_seen = (resumed.step, resumed.images_seen) if resumed else (0, 0)
        learner.begin(self._data(space), features.train if features else None)
        if resumed:
            learner.keep(**resumed.head)
        self.parameters = _trained(plan.network.tail, learner)
        trained = list(self.parameters.values()) or [torch.zeros(1, requires_grad=True)]
        self.optimiser = learner.optimiser(trained, float(plan.config.lr or 0))
        if resumed:
            _restore(plan.network.tail, self.optimiser, self.parameters, resumed)

    def _data(self, space: Space) -> TrainingData:
        rows, images = self.inputs.train.image_rows, self.plan.task.train
        return TrainingData(
            values=self.inputs.train.values,
            train_rows=self.inputs.train_rows,
            image=lambda row: images.load(int(rows[row])),
            norm=space.norm,
            center=space.center,
            auxiliary=self.inputs.auxiliary,
        )

    def run(self) -> Adapting:
        """Evaluate and train in turn until all steps are made, or there is a reason to end before."""
        steps, every = self.learner.config.steps, int(self.plan.config.eval_every or 1)
        while True:
            evaluated = self.history[-1].step if self.history else -1
            if self.step > evaluated and (self.step % every == 0 or self.step == steps):
                yield from self._evaluate()
            if self.step >= steps or end_reason([row.event for row in self.history], self.plan.recipe.stop):
                return
            self._train()
            logged = self.step % max(1, steps // STEPS_LOGGED) == 0 or self.step == steps
            if logged or self.step % every == 0 or len(self.losses) >= UNCHECKED:
                loss = self._checked_loss()
            yield Stepped(step=self.step, images_seen=self.images_seen, loss=loss) if logged else None

    def end(self, began: float) -> Adapting:
        """Yield the final scores and the last event. began: `time.monotonic()` of the run's start."""
        final = final_scores(self.plan, self.history)
        yield final
        metrics = final_metrics(self.plan, self.inputs, self.history, final)
        if self.plan.scorer is None:
            features = yield from self._features()
            answers = yield from self.learner.auxiliary_accuracy(self.inputs.test.values, features.test)
            metrics |= accuracies(answers, self.inputs.is_anomaly)
        if self.plan.config.set.get("svm_grid") == "oracle":
            features = yield from self._features()
            gallery = features.train[self.inputs.train_rows]
            metrics |= yield from oracle_grid(gallery, features.test, self.inputs.is_anomaly)
        yield RunFinished(metrics=metrics, seconds=time.monotonic() - began)

    def _features(self) -> Computing[Features]:
        """Return the features of both splits under the network as it is."""
        if self.features is None:
            self.features = yield from self.evaluation.features(self.plan.network.tail)
        return self.features

    def _evaluate(self) -> Adapting:
        began = time.monotonic()
        features = yield from self._features()
        measured = yield from self.evaluation.measure(features, self.step, self.images_seen, self.history, began)
        self.history.append(measured)
        yield Snapshot(
            self.step,
            _state(self.plan, self.learner),
            _momentum(self.optimiser, self.parameters),
            torch.from_numpy(features.train[self.inputs.train_rows]),
            features.background,
            measured.arrays,
        )
        yield measured.event
        yield CheckpointSaved(step=self.step, path=step_file(CHECKPOINTS, self.step))

    def _train(self) -> None:
        """Make one step."""
        rows = batch_rows(self.inputs.train_rows, self.learner.config.batch_size, self.plan.config.seed, self.step)
        penalty, self.features = self.inputs.penalty, None
        loss = _train_step(self.plan, self.learner, penalty, self.parameters, self.optimiser, rows, self.step)
        self.losses.append(loss)
        self.step, self.images_seen = self.step + 1, self.images_seen + len(rows)

    def _checked_loss(self) -> float:
        """Return the loss of the last step; `PandaError` where that of one since the last look is not finite.

        Not at every step: to read a number, the processor waits until a GPU has made all steps before.
        """
        losses = torch.stack(self.losses).tolist()
        first = self.step - len(losses)
        self.losses.clear()
        for step, loss in enumerate(losses, first + 1):
            if not np.isfinite(loss):
                rate = float(self.plan.config.lr or 0)
                raise PandaError(
                    f"The loss is not finite at step {step}: the learning rate of {rate:g} is likely too high. "
                    f"Everything up to the last checkpoint is kept; start again with `--lr {rate / 10:g}`."
                )
        return float(losses[-1])


def _trained(tail: torch.nn.Module, learner: Learner) -> dict[str, Tensor]:
    """Return what the optimiser moves, by name: the tail's parameters and the learner's own."""
    parameters: dict[str, Tensor] = {name: value for name, value in tail.named_parameters() if value.requires_grad}
    own = {HEAD + name: value for name, value in learner.head.items() if value.requires_grad}
    return parameters | own if parameters else {}


def _train_step(
    plan: AdaptPlan,
    learner: Learner,
    penalty: ElasticPenalty | None,
    parameters: dict[str, Tensor],
    optimiser: Optimiser,
    rows: np.ndarray,
    step: int,
) -> Tensor:
    """Make one optimiser step and return the loss before it, a scalar."""
    rate = float(plan.config.lr or 0)
    plan.network.tail.train(plan.network.statistics_move)
    with _computing_in(str(plan.config.set.get("precision", FLOAT32)), plan.device):  # older runs name none
        loss = learner.loss(rows, step)
    plan.network.tail.eval()
    total = loss if penalty is None else loss + penalty(parameters)
    optimiser.zero_grad()
    apart = penalty is not None and penalty.implicit
    (loss if apart else total).backward()
    norm = _clip(plan, parameters)
    for group in optimiser.param_groups:
        group["lr"] = rate * learner.rate(step)
    optimiser.step()
    if penalty is not None and apart:
        # By as much as the step would move along the penalty's gradient, were it shortened as the loss's: the balance
        # of the two is then the strength's alone. Momentum repeats a gradient 1 / (1 - m) times.
        momentum, longest = float(plan.config.set.get("momentum", 0.0)), float(plan.option("clip"))
        shortened = 1.0 if norm is None else min(1.0, longest / max(norm.item(), longest))
        penalty.pull(parameters, rate * learner.rate(step) * shortened / (1 - momentum))
    return total.detach()


def _computing_in(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context in which networks compute in a number format; what must be exact stays in float32 by itself."""
    if precision == FLOAT32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def _clip(plan: AdaptPlan, parameters: dict[str, Tensor]) -> Tensor | None:
    """Shorten the gradient to the recipe's `clip`, if it has one; return how long it was, a scalar.

    The released code clips the global L2 norm of the total loss's gradient; the paper gives the number alone.
    """
    if "clip" not in plan.recipe.options:
        return None
    return torch.nn.utils.clip_grad_norm_(list(parameters.values()), float(plan.option("clip")))


def _state(plan: AdaptPlan, learner: Learner) -> dict[str, Tensor]:
    """Return what a checkpoint holds: the network's tail, and what the learner keeps beside it."""
    own = {HEAD + name: value.detach().cpu().clone().contiguous() for name, value in learner.head.items()}
    return tail_state(plan.network) | own


def _momentum(optimiser: Optimiser, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{slot}/{name}": buffer.cpu().clone().contiguous()
        for name, value in parameters.items()
        for slot, buffer in optimiser.state.get(value, {}).items()
        if isinstance(buffer, Tensor)
    }


def _restore(tail: torch.nn.Module, optimiser: Optimiser, parameters: dict[str, Tensor], resumed: Resumed) -> None:
    tail.load_state_dict(resumed.tail, strict=False)
    for key, buffer in resumed.momentum.items():
        slot, name = key.split("/", 1)
        value = parameters[name]
        # Same strides as its parameter, as the optimiser makes it: another layout would round differently.
        optimiser.state[value][slot] = torch.empty_like(value).copy_(buffer) if buffer.shape == value.shape else buffer


def recompute(run: RecordedRun) -> FinalArrays:
    """Return the final scores of a finished adaptation, computed anew from data, weights and checkpoints."""
    plan = prepare(run.config)
    check_unchanged(run.run_id, run.split, plan.task)
    check_weights(run.folder, plan.network)
    check_others(run.folder, plan)
    inputs = result_of(set_up(plan))
    tensors = read_space(run.folder.space_file, plan.network, str(plan.config.feature_norm))
    learner = new_learner(plan.config, plan.network, plan.device)
    evaluation = Evaluation(plan, inputs, Space.from_tensors(plan, tensors), learner)
    history: list[Measured] = []
    stop, ses_start = plan.recipe.stop, plan.config.set.get("ses_start")
    for event in run.evaluated if stop == "ses" else used_checkpoints(run.evaluated, stop, ses_start):
        checkpoint = run.folder.checkpoint(event.step)
        plan.network.tail.load_state_dict(read_tail(checkpoint, plan.network), strict=False)
        learner.keep(**read_head(checkpoint))
        features = result_of(evaluation.features(plan.network.tail))
        if inputs.turns:  # calibrating scores have spaces of their own, which are not saved
            _, unadapted = result_of(Space.fit(plan, inputs, learner))
            features = dataclasses.replace(features, calibrating=unadapted.calibrating)
        history.append(result_of(evaluation.measure(features, event.step, event.images_seen, history, began=0.0)))
    learner.close()
    return final_scores(plan, history).arrays
