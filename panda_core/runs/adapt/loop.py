"""The one adaptation loop, a generator, for every recipe.

It yields events and snapshots and touches no file of the run; `panda_core.runs.run` writes both down.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.events import CheckpointSaved, Event, RunFinished, Stepped, quietly
from panda_core.methods.alarm import COLLAPSING
from panda_core.methods.elastic import ElasticPenalty
from panda_core.methods.learner import Learner, LearnerConfig, TrainingData, batch_rows
from panda_core.methods.stopping import aggregate, used_checkpoints
from panda_core.methods.table import find_learner
from panda_core.metrics import auroc, auroc_interval
from panda_core.runs.adapt.answers import accuracies
from panda_core.runs.adapt.evaluate import Evaluation, Measured, Space
from panda_core.runs.adapt.inputs import Inputs, set_up
from panda_core.runs.adapt.oracle import oracle_grid
from panda_core.runs.calibration import Calibration, calibrated, warning_of
from panda_core.runs.plan import Plan
from panda_core.runs.tensors import HEAD, tail_state

STEPS_LOGGED = 200  # `Stepped` is thinned to about so many lines a run


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that is saved at one step. tail: of the network's tail, and what the recipe keeps beside it, by name.

    momentum: what the optimiser remembers, by "slot/parameter name". gallery: (N, D'), of the fitted training images.
    """

    step: int
    tail: dict[str, Tensor]
    momentum: dict[str, Tensor]
    gallery: Tensor
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Start:
    """The space of a run, said once before its first step."""

    inputs: Inputs
    space: Space


@dataclasses.dataclass(frozen=True)
class Final:
    """What the stop rule made of all checkpoints: scores of the test images (M,) and of the held-out normals (H,).

    step: (M,) whose checkpoint gave each test image its score. steps_used: all that the rule could choose from.
    """

    scores: np.ndarray
    step: np.ndarray
    held_out_scores: np.ndarray
    steps_used: tuple[int, ...]
    calibration: Calibration


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


def adapt(plan: Plan, resumed: Resumed | None = None) -> Generator[Event | Start | Snapshot | Final | None, None, None]:
    """Yield all events of a run but the first, each `Snapshot` before the `Evaluated` that refers to it.

    Between batches None is yielded: it may be closed there. A loss that is not finite raises `PandaError` with the step
    and the likely cause.
    """
    began = time.monotonic() - (resumed.seconds if resumed else 0.0)
    if resumed is None:
        inputs = yield from set_up(plan)
    else:
        inputs = yield from quietly(set_up(plan))  # a resumed run has said this already
    learner = new_learner(plan.config, plan.network, plan.device)
    try:
        yield from _adapt(plan, inputs, learner, resumed, began)
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


def _adapt(
    plan: Plan, inputs: Inputs, learner: Learner, resumed: Resumed | None, began: float
) -> Generator[Event | Start | Snapshot | Final | None, None, None]:
    """Yield what `adapt` does once all inputs are there. began: `time.monotonic()` of the run's start."""
    config, tail = plan.config, plan.network.tail
    steps, every = learner.config.steps, int(config.eval_every or 1)
    if resumed is None:
        if plan.recipe.steps:
            yield from learner.pretrain(inputs.train.values[inputs.fitted])
        space, features = yield from Space.fit(plan, inputs, learner)
    else:
        space, features = Space.from_tensors(plan, resumed.space), None
    image_rows, images = inputs.train.image_rows, plan.task.train
    data = TrainingData(
        values=inputs.train.values,
        train_rows=inputs.fitted,
        image=lambda row: images.load(int(image_rows[row])),
        norm=space.norm,
        center=space.center,
        auxiliary=inputs.auxiliary,
    )
    learner.begin(data, features.train if features else None)
    if resumed:
        learner.keep(**resumed.head)
    evaluation, history = (
        Evaluation(plan, inputs, space, learner),
        list(resumed.history) if resumed else [],
    )
    if resumed is None:
        yield Start(inputs, space)
    parameters = _trained(tail, learner)
    optimiser = learner.optimiser(
        list(parameters.values()) or [torch.zeros(1, requires_grad=True)], float(config.lr or 0)
    )
    step, images_seen = 0, 0
    if resumed:
        step, images_seen = resumed.step, resumed.images_seen
        _restore(tail, optimiser, parameters, resumed)

    while True:
        if not history or (step > history[-1].step and (step % every == 0 or step == steps)):
            began_evaluation = time.monotonic()
            if step > 0 or features is None:  # the space was fitted to those of step 0
                features = yield from evaluation.features(tail)
            measured = yield from evaluation.measure(features, step, images_seen, history, began_evaluation)
            history.append(measured)
            gallery = torch.from_numpy(features.train[inputs.fitted])
            yield Snapshot(step, _state(plan, learner), _momentum(optimiser, parameters), gallery, measured.arrays)
            yield measured.event
            yield CheckpointSaved(step=step, path=f"checkpoints/{step:06d}.safetensors")
        if step >= steps or (plan.recipe.stop == "alarm" and history[-1].event.alarm == COLLAPSING):
            break
        rows = batch_rows(inputs.fitted, learner.config.batch_size, config.seed, step)
        loss = _train_step(plan, learner, inputs.penalty, parameters, optimiser, rows, step)
        step, images_seen = step + 1, images_seen + len(rows)
        logged = step % max(1, steps // STEPS_LOGGED) == 0 or step == steps
        yield Stepped(step=step, images_seen=images_seen, loss=loss) if logged else None

    final = final_scores(plan, history)
    yield final
    metrics = final_metrics(plan, inputs, history, final)
    if plan.scorer is None:
        features = features or (yield from evaluation.features(tail))
        answers = yield from learner.auxiliary_accuracy(inputs.test.values, features.test)
        metrics |= accuracies(answers, inputs.is_anomaly)
    if config.set.get("svm_grid") == "oracle":
        features = features or (yield from evaluation.features(tail))
        gallery = features.train[inputs.fitted]
        metrics |= yield from oracle_grid(gallery, features.test, inputs.is_anomaly)
    yield RunFinished(metrics=metrics, seconds=time.monotonic() - began)


def _trained(tail: torch.nn.Module, learner: Learner) -> dict[str, Tensor]:
    """Return what the optimiser moves, by name: the tail's parameters and the learner's own."""
    parameters: dict[str, Tensor] = {name: value for name, value in tail.named_parameters() if value.requires_grad}
    own = {HEAD + name: value for name, value in learner.head.items() if value.requires_grad}
    return parameters | own if parameters else {}


def _train_step(
    plan: Plan,
    learner: Learner,
    penalty: ElasticPenalty | None,
    parameters: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    rows: np.ndarray,
    step: int,
) -> float:
    """Make one optimiser step and return the loss before it."""
    rate = float(plan.config.lr or 0)
    plan.network.tail.train(plan.network.statistics_move)
    loss = learner.loss(rows, step)
    plan.network.tail.eval()
    if penalty is not None:
        loss = loss + penalty(parameters)
    value = loss.item()
    if not np.isfinite(value):
        raise PandaError(
            f"The loss is not finite at step {step + 1}: the learning rate of {rate:g} is likely too high. "
            f"Everything up to the last checkpoint is kept; start again with `--lr {rate / 10:g}`."
        )
    optimiser.zero_grad()
    loss.backward()
    if "clip" in plan.recipe.options:
        # The released code clips the global L2 norm of the total loss's gradient; the paper gives the number alone.
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), float(plan.option("clip")))
    for group in optimiser.param_groups:
        group["lr"] = rate * learner.rate(step)
    optimiser.step()
    return value


def final_scores(plan: Plan, history: list[Measured]) -> Final:
    """Return what the recipe's stop rule makes of all checkpoints."""
    events = [measured.event for measured in history]
    part = {event.step for event in used_checkpoints(events, plan.recipe.stop, plan.config.set.get("ses_start"))}
    used = [measured for measured in history if measured.step in part]
    scores = np.stack([measured.arrays["scores"] for measured in used])  # (T, M)
    held_out = np.stack([measured.arrays["held_out_scores"] for measured in used])  # (T, H)
    normalisers = np.array([measured.arrays["normaliser"] for measured in used])
    steps = np.array([measured.step for measured in used])
    chosen, known = (aggregate(plan.recipe.stop, rows, normalisers) for rows in (scores, held_out))
    verdicts = calibrated(known.scores, warning_of(known.scores.size, str(plan.option("calibrate_on"))))
    used_steps = tuple(int(step) for step in steps)
    return Final(chosen.scores, steps[chosen.checkpoint], known.scores, used_steps, verdicts)


def final_metrics(plan: Plan, inputs: Inputs, history: list[Measured], final: Final) -> dict[str, Any]:
    """Return the metrics of `RunFinished`. `oracle_*` is the best step chosen with test labels, which no rule may do.

    `stop_step` is the step that gave the scores; with sample-wise stopping, the median over the test images.
    `alarm_step` is the first at which the label-free alarm said that the features collapse.
    """
    rng = np.random.default_rng([plan.config.seed, 3])
    low, high = auroc_interval(final.scores, inputs.is_anomaly, rng=rng)
    curve = [(measured.event.auroc, -measured.step) for measured in history if measured.event.auroc is not None]
    oracle_auroc, oracle_step = max(curve) if curve else (None, None)
    return {
        "auroc": auroc(final.scores, inputs.is_anomaly),
        "auroc_low": low,
        "auroc_high": high,
        "unadapted_auroc": history[0].event.auroc,
        "stop_step": int(np.median(final.step)) if len(final.step) else history[-1].step,
        "alarm_step": next((measured.step for measured in history if measured.event.alarm == COLLAPSING), None),
        "oracle_auroc": oracle_auroc,
        "oracle_step": None if oracle_step is None else -oracle_step,
        "score_threshold": final.calibration.threshold(),
        "train_images": len(inputs.train.values),
        "held_out_images": len(inputs.held_out),
        "test_images": len(inputs.is_anomaly),
        "skipped_images": len(inputs.train.skipped) + len(inputs.test.skipped),
    }


def _state(plan: Plan, learner: Learner) -> dict[str, Tensor]:
    """Return what a checkpoint holds: the network's tail, and what the learner keeps beside it."""
    own = {HEAD + name: value.detach().cpu().clone().contiguous() for name, value in learner.head.items()}
    return tail_state(plan.network) | own


def _momentum(optimiser: torch.optim.Optimizer, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        f"{slot}/{name}": buffer.cpu().clone().contiguous()
        for name, value in parameters.items()
        for slot, buffer in optimiser.state.get(value, {}).items()
        if isinstance(buffer, Tensor)
    }


def _restore(
    tail: torch.nn.Module, optimiser: torch.optim.Optimizer, parameters: dict[str, Tensor], resumed: Resumed
) -> None:
    tail.load_state_dict(resumed.tail, strict=False)
    for key, buffer in resumed.momentum.items():
        slot, name = key.split("/", 1)
        value = parameters[name]
        # Same strides as its parameter, as the optimiser makes it: another layout would round differently.
        optimiser.state[value][slot] = torch.empty_like(value).copy_(buffer) if buffer.shape == value.shape else buffer
