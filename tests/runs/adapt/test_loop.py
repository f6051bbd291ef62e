"""The one training loop: how many steps, of what size, towards what; what labels, seeds and images may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from panda_core import RunConfig
from panda_core.datasets import OneClassTask
from panda_core.events import CacheProgress, Evaluated, RunFinished, RunStarted, Stepped
from panda_core.methods.learner import batch_rows
from panda_core.methods.table import RECIPES
from panda_core.runs.calibration import held_out_rows
from panda_core.runs.kinds import open_task, prepare, resolve
from panda_core.runs.tensors import read_tensors

Finish = Callable[..., Any]
Tiny = Callable[..., RunConfig]


def weights(folder: Any, step: int) -> torch.Tensor:
    tensors = read_tensors(folder.path / "checkpoints" / f"{step:06d}.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)]).double()


@pytest.mark.parametrize(("train", "steps", "batch"), [(20, 7, 8), (5, 7, 32), (2, 3, 32), (20, 1, 1), (20, 0, 8)])
def test_exactly_the_requested_steps(tiny: Tiny, finish: Finish, train: int, steps: int, batch: int) -> None:
    """Epochs counted for steps, a short last batch dropped, or no step at all with fewer images than a batch."""
    folder, events = finish(tiny(train_limit=train, steps=steps, batch_size=batch, eval_every=3))
    stepped = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in stepped] == list(range(1, steps + 1))
    fitted = train - (train // 2 if train >= 4 else 0)
    sizes = np.diff([0, *(event.images_seen for event in stepped)]).tolist()
    epoch = [min(batch, fitted - start) for start in range(0, fitted, batch)]
    assert sizes == (epoch * (steps + 1))[:steps]
    assert [event.step for event in events if isinstance(event, Evaluated)] == sorted({*range(0, steps + 1, 3), steps})
    assert len(torch.unique(torch.stack([weights(folder, step) for step in (0, steps)]), dim=0)) == min(steps, 1) + 1


@pytest.mark.parametrize(("count", "batch"), [(18, 8), (5, 32), (16, 8), (3, 1)])
def test_an_epoch_takes_every_image_once(count: int, batch: int) -> None:
    """Images that are never adapted on; epochs that all come in one order."""
    fitted = np.arange(100, 100 + count)
    per_epoch = -(-count // batch)
    epochs = [
        np.concatenate([batch_rows(fitted, batch, 0, epoch * per_epoch + place) for place in range(per_epoch)])
        for epoch in range(3)
    ]
    for rows in epochs:
        np.testing.assert_array_equal(np.sort(rows), fitted)
    assert count < 5 or len({rows.tobytes() for rows in epochs}) == 3
    other = np.concatenate([batch_rows(fitted, batch, 1, place) for place in range(per_epoch)])
    assert count < 5 or other.tobytes() != epochs[0].tobytes()


@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
def test_the_loss_is_the_spread_around_a_constant_center(tiny: Tiny, finish: Finish, norm: str) -> None:
    """A center taken anew at every epoch, or another space for the loss than for the curves: with the whole set as
    one batch, the loss before each step is the spread just measured, divided by the width."""
    config = tiny(feature_norm=norm, batch_size=64, eval_every=1, lr=0.1, set={"clip": 0.01, "calibrate_on": "train"})
    folder, events = finish(config)
    space = read_tensors(folder.path / "space.safetensors")
    gallery = read_tensors(folder.path / "galleries" / "000006.safetensors")["features"]
    spreads = [event.spread for event in events if isinstance(event, Evaluated)]
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    np.testing.assert_allclose(losses, np.array(spreads[:-1]) / gallery.shape[1], rtol=1e-4)
    assert losses[-1] < losses[0]
    assert spreads[-1] == pytest.approx((gallery - space["center"]).square().sum(dim=1).mean().item(), rel=1e-4)
    if norm == "whiten":
        np.testing.assert_allclose(space["center"].numpy(), 0, atol=1e-5)


@pytest.mark.parametrize("recipe", [key for key, row in RECIPES.items() if row.steps and not row.only_backbones])
def test_frozen_parts_and_statistics_do_not_move(tiny: Tiny, recipe: str) -> None:
    """BatchNorm statistics that drift because the network trains in training mode; a trunk that is adapted too."""
    from panda_core.runs.adapt.loop import adapt

    plan = prepare(tiny(recipe=recipe, lr=1.0, set={"clip": 1.0} if "clip" in RECIPES[recipe].options else {}))

    def frozen() -> dict[str, torch.Tensor]:
        parts = {"trunk": plan.network.trunk, "classifier": plan.network.classifier, "tail": plan.network.tail}
        return {
            f"{part}.{name}": value.clone()
            for part, module in parts.items()
            if module is not None
            for name, value in (module.named_buffers() if part == "tail" else module.state_dict().items())
        }

    before, tail = frozen(), {name: value.clone() for name, value in plan.network.tail.named_parameters()}
    assert isinstance(list(adapt(plan))[-1], RunFinished)
    after = frozen()
    assert {name for name in before if "running" in name}
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    moved = [name for name, value in plan.network.tail.named_parameters() if not torch.equal(value, tail[name])]
    assert set(moved) == set(tail)
    assert not any(module.training for module in plan.network.tail.modules())


def test_one_step_is_as_long_as_the_clip(tiny: Tiny, finish: Finish) -> None:
    """Clipping by element instead of by the norm of the whole gradient, or not at all."""
    folder, _ = finish(tiny(steps=1, lr=2.0, set={"clip": 1e-3, "weight_decay": 0}))
    assert (weights(folder, 1) - weights(folder, 0)).norm().item() == pytest.approx(2e-3, rel=1e-2)


@pytest.mark.parametrize("recipe", ["panda-early", "panda-ewc", "panda-l2"])
def test_the_clip_bounds_the_way(tiny: Tiny, finish: Finish, recipe: str) -> None:
    """Without weight decay |theta_T - theta_0| <= T lr G / (1 - m): also where a penalty is added."""
    folder, _ = finish(tiny(recipe=recipe, steps=6, lr=3.0, set={"clip": 1e-3, "momentum": 0.9, "weight_decay": 0}))
    way = (weights(folder, 6) - weights(folder, 0)).norm().item()
    assert 0 < way <= 6 * 3.0 * 1e-3 / (1 - 0.9) * 1.001


def test_weight_decay_is_added_after_the_clip(tiny: Tiny, finish: Finish) -> None:
    """Decay that the clip cuts off, or none: the weights then shrink by less than 1 - lr * decay in a step."""
    folder, _ = finish(tiny(steps=1, lr=1.0, set={"clip": 1e-12, "weight_decay": 0.01, "momentum": 0}))
    torch.testing.assert_close(weights(folder, 1), 0.99 * weights(folder, 0), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("recipe", "option"), [("panda-ewc", "ewc_strength"), ("panda-l2", "l2_strength")])
def test_a_penalty_of_strength_zero_is_early_stopping(
    tiny: Tiny, finish: Finish, contents: Callable[..., Any], recipe: str, option: str
) -> None:
    """A penalty that disturbs the training it does not take part in: equal bit for bit."""
    changes: dict[str, Any] = {"lr": 0.5, "steps": 6, "eval_every": 2}
    plain = contents(finish(tiny(recipe="panda-early", set={"weight_decay": 0.01}, **changes))[0])
    zero = contents(finish(tiny(recipe=recipe, set={"weight_decay": 0.01, option: 0}, **changes))[0])
    files = [name for name in plain if name.startswith(("checkpoints/", "arrays/"))]
    assert len(files) > 4
    for name in files:
        assert zero[name] == plain[name], name


HELD: dict[str, Any] = {"steps": 20, "eval_every": 20, "train_limit": 40}
STRENGTHS = (0.0, 1.0, 1e2, 1e4, 1e12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("recipe", "option"), [("panda-ewc", "ewc_strength"), ("panda-l2", "l2_strength")])
def test_the_firmer_weights_are_held_the_nearer_they_stay(
    tiny: Tiny, finish: Finish, recipe: str, option: str, momentum: float
) -> None:
    """Weights that bounce around their start the farther the firmer they are held; a strongest hold that lets go."""
    options = {"clip": 1e-2, "weight_decay": 0, "momentum": momentum}
    ways = []
    for strength in STRENGTHS:
        folder, _ = finish(tiny(recipe=recipe, lr=30.0, set={**options, option: strength}, **HELD))
        ways.append((weights(folder, 20) - weights(folder, 0)).norm().item())
    assert ways == sorted(ways, reverse=True)
    assert ways[-1] < 1e-3 * ways[0]
    assert len(set(ways)) == len(ways), "and every strength counts"


@pytest.mark.parametrize("recipe", ["panda-ewc", "panda-l2"])
def test_held_firmest_scores_are_those_of_the_frozen_network(tiny: Tiny, finish: Finish, recipe: str) -> None:
    """A hold that cannot be made as firm as one likes; weights that no logit depends on are free, and hardly matter."""
    option = {"panda-ewc": "ewc_strength", "panda-l2": "l2_strength"}[recipe]
    folder, _ = finish(tiny(recipe=recipe, lr=30.0, set={"clip": 1e-2, option: 1e12}, **HELD))
    np.testing.assert_allclose(folder.arrays(20).scores, folder.arrays(0).scores, rtol=1e-2, atol=1e-6)


def shuffled(task: OneClassTask, seed: int) -> OneClassTask:
    return dataclasses.replace(task, is_anomaly=np.random.default_rng(seed).permutation(task.is_anomaly))


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_labels_change_no_score(tiny: Tiny, finish: Finish, contents: Callable[..., Any], recipe: str) -> None:
    """A scorer, stop rule or checkpoint chosen with the labels of the test set."""
    config = tiny(recipe=recipe, **({"steps": 4, "lr": 0.5} if RECIPES[recipe].steps else {"steps": None}))
    task = prepare(config).task
    runs = [contents(finish(config, task=item)[0]) for item in (task, shuffled(task, 1), shuffled(task, 2))]
    assert len({str(run["events"]) for run in runs}) > 1, "the curves do depend on the labels"
    for name in runs[0]:
        if name.startswith(("arrays/", "checkpoints/", "galleries/", "space")):
            assert runs[0][name] == runs[1][name] == runs[2][name], name


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_same_config_gives_the_same_run(
    tiny: Tiny, finish: Finish, contents: Callable[..., Any], recipe: str
) -> None:
    """Global random state that decides a result."""
    config = tiny(recipe=recipe, steps=4 if RECIPES[recipe].steps else None)
    first = contents(finish(config)[0])
    torch.manual_seed(99)
    np.random.seed(99)
    assert contents(finish(config)[0]) == first
    other = contents(finish(config.replace(seed=1))[0])
    assert other["arrays/final.npz/scores"] != first["arrays/final.npz/scores"]


def test_the_order_of_test_images_changes_no_score(tiny: Tiny, finish: Finish) -> None:
    """A score that depends on the images before it."""
    task = prepare(tiny()).task
    order = np.random.default_rng(0).permutation(len(task.test))
    turned = OneClassTask(task.train, task.test.subset(order), task.is_anomaly[order])
    plain, other = (finish(tiny(), task=item)[0].final().scores for item in (task, turned))
    np.testing.assert_allclose(other, plain[order], rtol=1e-4)


def test_a_test_set_of_one_class_has_no_auroc(tiny: Tiny, finish: Finish) -> None:
    """A run that fails, or 0.5, where there are no anomalies to be found."""
    task = prepare(tiny()).task
    normals = np.nonzero(task.is_anomaly == 0)[0]
    folder, events = finish(tiny(), task=OneClassTask(task.train, task.test.subset(normals), task.is_anomaly[normals]))
    points = [event for event in events if isinstance(event, Evaluated)]
    assert {event.auroc for event in points} == {event.anomalous_ratio for event in points} == {None}
    assert all(event.normal_ratio is not None for event in points)
    assert events[-1].metrics["auroc"] is None and events[-1].metrics["oracle_step"] is None
    assert folder.state().state == "finished"


def test_what_the_events_say_of_the_first_step(tiny: Tiny, finish: Finish) -> None:
    """Curves without their unadapted point, or whose final metrics are another run's."""
    folder, events = finish(tiny())
    assert isinstance(events[0], RunStarted) and events[0].run_id == folder.run_id
    points = [event for event in events if isinstance(event, Evaluated)]
    assert points[0].step == 0 and points[0].images_seen == 0
    metrics = events[-1].metrics
    assert metrics["unadapted_auroc"] == points[0].auroc
    assert metrics["auroc"] == points[-1].auroc and metrics["stop_step"] == 6
    best = max(points, key=lambda event: (event.auroc, -event.step))
    assert (metrics["oracle_auroc"], metrics["oracle_step"]) == (best.auroc, best.step)
    assert (metrics["train_images"], metrics["held_out_images"], metrics["test_images"]) == (20, 10, 20)
    assert {event.split for event in events if isinstance(event, CacheProgress)} == {"train", "test"}
    for event in points:
        assert event.auroc_low <= event.auroc <= event.auroc_high


@pytest.mark.parametrize("scorer", ["knn", "mahalanobis"])
@pytest.mark.parametrize("kind", ["none", "l2"])
def test_a_run_in_another_space_knows_what_whitening_gives_for_free(
    tiny: Tiny, finish: Finish, kind: str, scorer: str
) -> None:
    """Guards a line beside the curve that is of other images, another scorer or an adapted network."""
    metrics = {}
    for space in (kind, "whiten"):
        _, events = finish(tiny(feature_norm=space, scorer=scorer, steps=4))
        points = [event for event in events if isinstance(event, Evaluated)]
        assert [event.step for event in points if event.whitened_auroc is not None] == [0] * (space == kind)
        metrics[space] = events[-1].metrics
        assert metrics[space]["whitened_auroc"] == points[0].whitened_auroc
    assert metrics[kind]["whitened_auroc"] == metrics["whiten"]["unadapted_auroc"]


@pytest.mark.parametrize("fields", [{"recipe": "frozen", "steps": 0}, {"recipe": "deep-svdd", "steps": 2}])
def test_nothing_is_compared_where_no_pretrained_network_is_adapted(
    tiny: Tiny, finish: Finish, fields: dict[str, Any]
) -> None:
    """Guards a whitened space of a network that knows nothing, or beside a curve of one point."""
    _, events = finish(tiny(feature_norm="none", **fields))
    assert events[-1].metrics["whitened_auroc"] is None


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_few_directions_are_enough(tiny: Tiny, finish: Finish, dims: int) -> None:
    """A failure where whitening leaves a single direction, of which there is no second axis to draw."""
    folder, _ = finish(tiny(feature_norm="whiten", set={"whiten_dims": dims}, steps=2))
    arrays = folder.adapt_arrays(2).by_name()
    for kind in ("projection", "refit"):
        assert arrays[f"{kind}_train"].shape == (10, 2) and arrays[f"{kind}_test"].shape == (20, 2)
    finish(tiny(feature_norm="whiten", train_limit=2, steps=2))


@pytest.mark.parametrize("start", ["exclude", "include"])
@pytest.mark.parametrize("rule", ["A", "B"])
def test_sample_wise_stopping_is_the_maximum_of_ratios(tiny: Tiny, finish: Finish, rule: str, start: str) -> None:
    """Normalisers of other checkpoints or of other images than the paper's; the unadapted network left in, or out."""
    config = tiny(recipe="panda-ses", lr=1.0, set={"ses": rule, "ses_start": start, "clip": 0.01})
    folder, events = finish(config)
    split = folder.read("split.json")
    expected = []
    for event in [event for event in events if isinstance(event, Evaluated)][start == "exclude" :]:
        arrays = folder.arrays(event.step)
        s_t = arrays.held_out_scores.mean(dtype=np.float64)
        if rule == "A":
            s_t = event.spread / read_tensors(folder.path / "galleries" / "000006.safetensors")["features"].shape[1]
        expected.append(arrays.scores / s_t)
    final = folder.final()
    np.testing.assert_allclose(final.scores, np.max(expected, axis=0), rtol=1e-5)
    steps = ([0] if start == "include" else []) + [2, 4, 6]
    np.testing.assert_array_equal(final.step, np.array(steps)[np.argmax(expected, axis=0)])
    assert len(final.held_out_scores) == len(split["held_out"]) == 10
    # Held-out images are compared with the others alone, or each would be its own neighbour.
    assert (folder.arrays(0).held_out_scores > 0).all()
    assert not set(split["held_out"]) & set(split["fitted"])


@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
@pytest.mark.parametrize("recipe", ["frozen", "panda-early", "panda-ses", "panda-alarm"])
def test_a_held_out_image_scores_as_a_test_image_does(tiny: Tiny, finish: Finish, recipe: str, norm: str) -> None:
    """A whitening, a center or a gallery that has seen the images which set the threshold: in few dimensions too
    little, with fewer images than dimensions far too high, so that no anomaly is found."""
    config = tiny(recipe=recipe, feature_norm=norm, steps=None if recipe == "frozen" else 4)
    train = open_task(resolve(config)).train
    rows = np.arange(len(train)) if recipe == "frozen" else held_out_rows(len(train), config.seed)
    same = train.subset(rows)
    folder, _ = finish(config, task=OneClassTask(train, same, np.zeros(len(same), np.uint8)))
    final = folder.final()
    assert len(final.held_out_scores) == len(rows) and (final.held_out_scores > 0).all()
    if recipe != "frozen":
        np.testing.assert_allclose(final.held_out_scores, final.scores, rtol=1e-4)


@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
def test_images_that_calibrate_in_turn_are_judged_by_the_others_alone(tiny: Tiny, finish: Finish, norm: str) -> None:
    """A calibrating image that its space or gallery has seen: it lies nearer than fresh images, which are rejected."""
    config = tiny(recipe="frozen", steps=None, feature_norm=norm)
    train = open_task(resolve(config)).train
    in_turn = finish(config)[0].final().held_out_scores
    for row in (0, 7, 19):
        others = train.subset(np.setdiff1d(np.arange(len(train)), [row]))
        task = OneClassTask(others, train.subset([row]), np.zeros(1, np.uint8))
        (alone,) = finish(config.replace(train_limit=None), task=task)[0].final().scores
        np.testing.assert_allclose(in_turn[row], alone, rtol=1e-4)
