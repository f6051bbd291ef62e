"""The one adaptation loop, a generator, for every recipe.

It yields events and snapshots and touches no file of the run; `panda_core.runs.record` writes both down.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core.errors import PandaError, StopRequested
from panda_core.events import CheckpointSaved, Event, RunFinished, RunStopped, Stepped
from panda_core.features import activation_batch
from panda_core.methods.compactness import compactness_loss
from panda_core.methods.stopping import Chosen, last_checkpoint, sample_wise, taking_part
from panda_core.metrics import auroc, auroc_interval
from panda_core.runs.evaluation import Evaluation, Measured, Space
from panda_core.runs.plan import Plan
from panda_core.runs.setting_up import Inputs, set_up

STEPS_LOGGED = 200  # `Stepped` is thinned to about so many lines a run


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that is saved at one step. tail, momentum: tensors by parameter name. gallery: (N, D')."""

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


@dataclasses.dataclass(frozen=True)
class Resumed:
    """Where an interrupted run goes on: after the checkpoint of `step`, with all that was measured until then."""

    step: int
    images_seen: int
    tail: dict[str, Tensor]
    momentum: dict[str, Tensor]
    space: dict[str, Tensor]
    history: list[Measured]
    seconds: float


def adapt(
    plan: Plan, resumed: Resumed | None = None, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event | Start | Snapshot | Final]:
    """Yield all events of a run but the first, each `Snapshot` before the `Evaluated` that refers to it.

    `should_stop` is asked before every batch; once true, the last event is `RunStopped`. A loss that is not finite
    raises `PandaError` with the step and the likely cause.
    """
    began = time.monotonic() - (resumed.seconds if resumed else 0.0)
    inputs: Inputs | None = None
    for item in set_up(plan, should_stop):
        if isinstance(item, Inputs):
            inputs = item
        elif resumed is None:  # a resumed run has said this already
            yield item
    if inputs is None:
        yield RunStopped(reason="Stopped on request before the first evaluation.")
        return

    try:
        yield from _adapt(plan, inputs, resumed, should_stop, began)
    except StopRequested as stopped:
        yield RunStopped(reason=str(stopped))


def _adapt(
    plan: Plan, inputs: Inputs, resumed: Resumed | None, should_stop: Callable[[], bool], began: float
) -> Iterator[Event | Start | Snapshot | Final]:
    """Yield what `adapt` does once all inputs are there. began: `time.monotonic()` of the run's start."""
    config, tail = plan.config, plan.network.tail
    steps, every = int(config.steps or 0), int(config.eval_every or 1)
    space, features = (
        (Space.from_tensors(plan, resumed.space), None) if resumed else Space.fit(plan, inputs, should_stop)
    )
    evaluation, history = Evaluation(plan, inputs, space), list(resumed.history) if resumed else []
    if resumed is None:
        yield Start(inputs, space)
    parameters: dict[str, Tensor] = {name: value for name, value in tail.named_parameters() if value.requires_grad}
    optimiser = torch.optim.SGD(
        list(parameters.values()) or [torch.zeros(1, requires_grad=True)],
        lr=float(config.lr or 0),
        momentum=config.set.get("momentum", 0.0),  # type: ignore[arg-type]
        weight_decay=config.set.get("weight_decay", 0.0),  # type: ignore[arg-type]
    )
    step, images_seen = 0, 0
    if resumed:
        step, images_seen = resumed.step, resumed.images_seen
        _restore(tail, optimiser, parameters, resumed)

    while True:
        if not history or (step > history[-1].step and (step % every == 0 or step == steps)):
            began_evaluation = time.monotonic()
            if step > 0 or features is None:  # the space was fitted to those of step 0
                features = evaluation.features(tail, should_stop)
            measured = evaluation.measure(features, step, images_seen, history, began_evaluation)
            history.append(measured)
            gallery = torch.from_numpy(features.train)
            yield Snapshot(step, _tail_state(tail), _momentum(optimiser, parameters), gallery, measured.arrays)
            yield measured.event
            yield CheckpointSaved(step=step, path=f"checkpoints/{step:06d}.safetensors")
        if step >= steps:
            break
        if should_stop():
            raise StopRequested(f"Stopped on request after step {step}.")
        rows = batch_rows(inputs.fitted, config.batch_size, config.seed, step)
        loss = _train_step(plan, inputs, space, parameters, optimiser, rows, step)
        step, images_seen = step + 1, images_seen + len(rows)
        if step % max(1, steps // STEPS_LOGGED) == 0 or step == steps:
            yield Stepped(step=step, images_seen=images_seen, loss=loss)

    final = final_scores(plan, history)
    yield final
    yield RunFinished(metrics=final_metrics(plan, inputs, history, final), seconds=time.monotonic() - began)


def batch_rows(fitted: np.ndarray, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Return the training rows of the batch before step + 1: epochs are shuffled anew, the last batch may be short.

    A function of the step alone, so that a resumed run goes on with the batch that would have come next.
    """
    per_epoch = -(-len(fitted) // batch_size)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, 2, epoch]).permutation(fitted)
    return order[place * batch_size : (place + 1) * batch_size]


def _train_step(
    plan: Plan,
    inputs: Inputs,
    space: Space,
    parameters: dict[str, Tensor],
    optimiser: torch.optim.SGD,
    rows: np.ndarray,
    step: int,
) -> float:
    """Make one optimiser step and return the loss before it."""
    activations = activation_batch(inputs.train.values, rows, plan.device)
    loss = compactness_loss(space.norm(plan.network.tail(activations)), space.center.to(plan.device))
    if inputs.penalty is not None:
        loss = loss + inputs.penalty(parameters)
    value = loss.item()
    if not np.isfinite(value):
        rate = float(plan.config.lr or 0)
        raise PandaError(
            f"The loss is not finite at step {step + 1}: the learning rate of {rate:g} is likely too high. "
            f"Everything up to the last checkpoint is kept; start again with `--lr {rate / 10:g}`."
        )
    optimiser.zero_grad()
    loss.backward()
    # The released code clips the global L2 norm of the total loss's gradient; the paper gives the number alone.
    torch.nn.utils.clip_grad_norm_(list(parameters.values()), float(plan.option("clip")))
    optimiser.step()
    return value


def final_scores(plan: Plan, history: list[Measured]) -> Final:
    """Return what the recipe's stop rule makes of all checkpoints."""
    used: list[Measured] = taking_part(history, plan.recipe.stop, plan.config.set.get("ses_start"))
    scores = np.stack([measured.arrays["scores"] for measured in used])  # (T, M)
    held_out = np.stack([measured.arrays["held_out_scores"] for measured in used])  # (T, H)
    rule: Callable[[np.ndarray], Chosen] = last_checkpoint
    if plan.recipe.stop == "ses":
        normalisers = np.array([measured.arrays["normaliser"] for measured in used])
        rule = lambda rows: sample_wise(rows, normalisers)  # noqa: E731  one rule for both sets of images
    steps = np.array([measured.step for measured in used])
    chosen = rule(scores)
    return Final(chosen.scores, steps[chosen.checkpoint], rule(held_out).scores, tuple(int(step) for step in steps))


def final_metrics(plan: Plan, inputs: Inputs, history: list[Measured], final: Final) -> dict[str, Any]:
    """Return the metrics of `RunFinished`. `oracle_*` is the best step chosen with test labels, which no rule may do.

    `stop_step` is the step that gave the scores; with sample-wise stopping, the median over the test images.
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
        "oracle_auroc": oracle_auroc,
        "oracle_step": None if oracle_step is None else -oracle_step,
        "train_images": len(inputs.train.values),
        "held_out_images": len(inputs.held_out),
        "test_images": len(inputs.is_anomaly),
        "skipped_images": len(inputs.train.skipped) + len(inputs.test.skipped),
    }


def _tail_state(tail: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone().contiguous() for name, value in tail.named_parameters()}


def _momentum(optimiser: torch.optim.SGD, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    buffers = {name: optimiser.state.get(value, {}).get("momentum_buffer") for name, value in parameters.items()}
    return {name: buffer.cpu().clone().contiguous() for name, buffer in buffers.items() if buffer is not None}


def _restore(
    tail: torch.nn.Module, optimiser: torch.optim.SGD, parameters: dict[str, Tensor], resumed: Resumed
) -> None:
    with torch.no_grad():
        for name, value in tail.named_parameters():
            value.copy_(resumed.tail[name])
    for name, buffer in resumed.momentum.items():
        # Same strides as its parameter, as the optimiser makes it: another layout would round differently.
        optimiser.state[parameters[name]]["momentum_buffer"] = torch.empty_like(parameters[name]).copy_(buffer)
