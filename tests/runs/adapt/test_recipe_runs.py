"""Runs of the recipes beside PANDA's: each goes through the same loop and folder, and does what it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from panda_core import RunConfig, load_run
from panda_core.datasets import imagenet_images
from panda_core.events import CacheProgress, Evaluated, RunFinished, RunStarted, RunStopped, Stepped, result_of
from panda_core.features.trunk import compute_trunk
from panda_core.methods.alarm import ROUNDING, SUFFERING
from panda_core.runs.adapt import results as oracle
from panda_core.runs.adapt.inputs import set_up
from panda_core.runs.adapt.loop import new_learner
from panda_core.runs.adapt.results import Answered, accuracies, answered
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.kinds import prepare, recompute
from panda_core.runs.run import resume, run
from panda_core.runs.tensors import read_head, read_tail, read_tensors

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]

SOFT = {"recipe": "deep-svdd", "lr": 1e-3, "set": {"ae_epochs": 1, "objective": "soft-boundary"}}
MHROT = {"recipe": "mhrot", "backbone": "rotnet", "image_size": 16, "test_limit": 10}
BIASED = {"recipe": "deep-svdd", "backbone": "lenet_bias", "scorer": "knn"}


@pytest.mark.parametrize("changes", [SOFT, MHROT], ids=["soft-boundary", "mhrot"])
def test_stopped_and_resumed_equals_uninterrupted(
    tiny: Tiny, finish: Finish, contents: Callable[..., Any], tmp_path: Any, changes: dict[str, Any]
) -> None:
    """A radius, statistics, heads or Adam's memory that start again; pretraining done twice."""
    whole = contents(finish(tiny(**changes, runs_dir=str(tmp_path / "whole")))[0])
    seen: list[Stepped] = []

    def should_stop() -> bool:
        return len(seen) >= 3

    for event in run(tiny(**changes), should_stop=should_stop):
        if isinstance(event, Stepped):
            seen.append(event)
    assert isinstance(event, RunStopped)
    (folder,) = list_runs(tiny().runs_dir)
    torch.manual_seed(9)
    again = list(resume(folder))
    assert isinstance(again[-1], RunFinished)
    assert not any(isinstance(item, CacheProgress) for item in again)
    assert contents(folder) == whole


@pytest.mark.parametrize("changes", [SOFT, MHROT, BIASED], ids=["soft-boundary", "mhrot", "biased"])
def test_statistics_move_and_are_saved(tiny: Tiny, finish: Finish, changes: dict[str, Any]) -> None:
    """BatchNorm that keeps the statistics of random weights, or a detector that scores with them."""
    folder, _ = finish(tiny(**changes))
    first, last = (read_tensors(folder.path / "checkpoints" / f"{step:06d}.safetensors") for step in (0, 6))
    statistics = {name for name in first if "running" in name}
    assert statistics and all(not torch.equal(first[name], last[name]) for name in statistics)
    loaded = load_run(folder.path)
    images = [loaded.images("test").load(row) for row in range(len(loaded.final().scores))]
    np.testing.assert_allclose(loaded.detector().anomaly_scores(images), loaded.final().scores, rtol=1e-4)


def test_no_step_scores_the_whitened_autoencoder(tiny: Tiny, finish: Finish) -> None:
    """Features of random weights in place of the autoencoder's where no step follows, as PANDA's Table 7 has it."""
    changes = {"recipe": "deep-svdd", "steps": 0, "feature_norm": "whiten", "scorer": "mean", "eval_every": None}
    folder, events = finish(tiny(**changes, set={"ae_epochs": 2}))
    marks = [event.done for event in events if isinstance(event, CacheProgress) and event.split == "pretraining"]
    assert marks == [1, 2, 3, 4]  # two epochs of ten images, eight and two at once
    gallery = read_tensors(folder.path / "galleries" / "000000.safetensors")["features"].double()
    assert (gallery.mean(dim=0).abs() < 1e-4).all() and gallery.shape[0] == 10
    covariance = gallery.T @ gallery / len(gallery)
    spread = torch.linalg.eigvalsh(covariance)[-9:]  # ten images span nine directions
    assert ((spread > 0.1) & (spread < 1)).all()
    other = finish(tiny(**changes, set={"ae_epochs": 0}))[0].final().scores
    assert not np.allclose(folder.final().scores, other, rtol=1e-2)


def test_pretraining_can_be_stopped(tiny: Tiny) -> None:
    """Minutes of an autoencoder that nobody can end."""
    asked: list[bool] = []

    def should_stop() -> bool:
        return bool(asked)

    events = []
    for event in run(tiny(recipe="deep-svdd", set={"ae_epochs": 30}), should_stop=should_stop):
        events.append(event)
        asked += [True] if isinstance(event, CacheProgress) and event.split == "pretraining" else []
    assert isinstance(events[-1], RunStopped) and asked == [True]


def test_the_one_class_svm_sees_the_pixels(tiny: Tiny, finish: Finish) -> None:
    """Another input, or another scorer, than the recipe says."""
    folder, _ = finish(tiny(recipe="ocsvm", backbone=None, steps=None))
    task = prepare(tiny(recipe="ocsvm", backbone=None, steps=None)).task
    gallery = read_tensors(folder.path / "galleries" / "000000.safetensors")["features"].numpy()
    assert gallery.shape == (20, 3072) and 0 <= gallery.min() < gallery.max() <= 1
    scores = folder.final().scores
    assert (
        scores.shape == (len(task.test),) and scores[task.is_anomaly == 1].mean() > scores[task.is_anomaly == 0].mean()
    )


def test_the_oracle_stands_beside_the_scores(tiny: Tiny, finish: Finish, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid searched with labels whose best setting becomes the run's own scores; or one searched unasked."""
    monkeypatch.setattr(oracle, "NUS", (0.1, 0.5))
    monkeypatch.setattr(oracle, "GAMMAS", (2.0**-7, 0.25))
    plain, asked = (
        finish(tiny(recipe="ocsvm", backbone=None, steps=None, set={"svm_grid": grid})) for grid in ("none", "oracle")
    )
    np.testing.assert_array_equal(plain[0].final().scores, asked[0].final().scores)
    found = {key: value for key, value in asked[1][-1].metrics.items() if key not in plain[1][-1].metrics}
    assert set(found) == {"oracle_grid_auroc", "oracle_grid_gamma", "oracle_grid_nu"}
    assert found["oracle_grid_gamma"] in oracle.GAMMAS and found["oracle_grid_nu"] in oracle.NUS
    assert {key: asked[1][-1].metrics[key] for key in plain[1][-1].metrics} == plain[1][-1].metrics


def test_mhrots_features_can_be_scored_by_neighbours(tiny: Tiny, finish: Finish) -> None:
    """A scorer of its own that cannot be replaced: RotNet's features with PANDA's kNN (Sec. 5.5 and App. A)."""
    own, knn = (finish(tiny(recipe="mhrot", scorer=scorer))[0].final().scores for scorer in (None, "knn"))
    assert own.max() <= 0 < knn.min() and own.shape == knn.shape


def test_mhrot_says_how_often_each_head_is_right(tiny: Tiny, finish: Finish) -> None:
    """PANDA's Table 3 with labels swapped, with anomalies among the normal images, or of another step than the last."""
    folder, events = finish(tiny(**MHROT))
    plan = prepare(folder.config())
    inputs = result_of(set_up(plan))
    learner = new_learner(plan.config, plan.network, plan.device)
    file = folder.path / "checkpoints" / "000006.safetensors"
    plan.network.tail.load_state_dict(read_tail(file, plan.network), strict=False)
    learner.keep(**read_head(file))
    learner.data = None  # type: ignore[assignment]  # counts as one that has begun
    found = result_of(learner.auxiliary_accuracy(inputs.test.values, np.zeros((10, 128))))
    labels = plan.task.is_anomaly
    assert 0 < labels.sum() < len(labels)
    for question, shares in found.items():
        for label, kind in enumerate(("normal", "anomalous")):
            value = events[-1].metrics[f"{kind}_{question}_accuracy"]
            assert value == pytest.approx(shares[labels == label].mean())
    assert len({value for key, value in events[-1].metrics.items() if key.endswith("_accuracy")}) > 2


def test_only_a_method_that_asks_has_answers(tiny: Tiny, finish: Finish) -> None:
    """Accuracies of heads that a run does not score with, or of images without a label."""
    _, events = finish(tiny(**MHROT, scorer="knn"))
    assert not [key for key in events[-1].metrics if key.endswith("_accuracy")]
    assert accuracies({"turn": np.array([0.5, 1.0])}, np.zeros(2)) == {
        "normal_turn_accuracy": 0.75,
        "anomalous_turn_accuracy": None,
    }
    assert answered({"normal_turn_accuracy": 0.75, "anomalous_turn_accuracy": None, "auroc": 1.0}) == [
        Answered("turn", 0.75, None)
    ]


def test_joint_forgets_less_than_compactness_alone(
    tiny: Callable[..., RunConfig], pictures: Callable[[], Path], finish: Callable[..., Any], tiny_network: Any
) -> None:
    """A classification loss without effect: accuracy on the labelled images after both, for the same steps."""
    root = pictures().parent
    labelled = imagenet_images(root)
    assert labelled is not None
    losses = {}
    for recipe in ("panda-early", "joint"):
        folder, _ = finish(tiny(recipe=recipe, steps=30, eval_every=30, lr=0.5, set={"clip": 0.1}, train_limit=40))
        network, file = tiny_network(), folder.path / "checkpoints" / "000030.safetensors"
        network.tail.load_state_dict(read_tail(file, network), strict=False)
        images = [labelled.images.load(row) for row in range(12)]
        values = compute_trunk(images, network, image_size=32, dtype="float32", device=torch.device("cpu"))
        head = read_head(file) or dict(network.classifier.named_parameters())
        with torch.no_grad():
            features = network.tail(torch.from_numpy(values))[:, -network.level_widths[-1] :]
            logits = F.linear(features, head["weight"], head["bias"])
        losses[recipe] = F.cross_entropy(logits, torch.tensor(labelled.labels)).item()
    assert losses["joint"] < losses["panda-early"]


BROKEN = {"recipe": "panda-alarm", "train_limit": 100, "steps": 60, "eval_every": 2, "lr": 4.0, "set": {"clip": 1.0}}


def test_it_ends_at_the_alarm_and_asks_both_networks(tiny: Tiny, finish: Finish) -> None:
    """A run that goes on after the alarm, or whose scores are of one network alone."""
    folder, events = finish(tiny(**BROKEN))
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    metrics = next(event.metrics for event in events if isinstance(event, RunFinished))
    assert [event.alarm for event in evaluated].index(SUFFERING) == len(evaluated) - 1
    assert evaluated[-1].step == metrics["alarm_step"] < 60
    assert "detection suffers" in metrics["end_reason"]
    best = max(evaluated, key=lambda event: event.stand_in_auroc).step
    assert metrics["stop_step"] == best > 0
    first, last = (folder.arrays(step) for step in (0, best))
    expected = first.scores / first.normaliser + last.scores / last.normaliser
    np.testing.assert_allclose(folder.final().scores, expected / 2, rtol=1e-5)


def test_its_detector_and_its_check_use_both_checkpoints(tiny: Tiny, finish: Finish) -> None:
    """New images scored by other checkpoints than the test images of the run."""
    folder, _ = finish(tiny(**BROKEN))
    loaded = load_run(folder.path)
    final = folder.final().scores
    np.testing.assert_allclose(recompute(loaded).scores, final, rtol=1e-4)
    images = loaded.images("test")
    found = loaded.detector().anomaly_scores([images.load(row) for row in range(5)])
    np.testing.assert_allclose(found, final[:5], rtol=1e-3)


def test_without_an_alarm_it_runs_to_its_end(tiny: Tiny, finish: Finish) -> None:
    """A run that is stopped while nothing has moved."""
    _, events = finish(tiny(recipe="panda-alarm", train_limit=60, lr=1e-9))
    assert [event.step for event in events if isinstance(event, Evaluated)][-1] == 6
    assert events[-1].metrics["alarm_step"] is None


def test_adapted_images_are_not_held_out(tiny: Tiny, finish: Finish) -> None:
    """A ratio of "held-out" images that the network was adapted on."""
    _, events = finish(tiny(set={"calibrate_on": "train"}))
    assert {event.held_out_ratio for event in events if isinstance(event, Evaluated)} == {None}


@pytest.mark.parametrize("recipe", ["panda-early", "panda-ses", "panda-alarm"])
def test_a_run_ends_where_its_numbers_end(tiny: Tiny, finish: Finish, recipe: str) -> None:
    """Scores that are rounding, of features that have shrunk to one point; a run that goes on and says nothing."""
    shrinks = {"weight_decay": 0.9, "momentum": 0.0}
    folder, events = finish(tiny(recipe=recipe, lr=1.0, steps=60, eval_every=1, set=shrinks))
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    metrics = events[-1].metrics
    margins = [event.rounding_margin for event in evaluated]
    assert all(margin >= ROUNDING for margin in margins[:-1]) and margins[-1] < ROUNDING
    assert evaluated[-1].step == metrics["rounding_step"] < 60
    assert metrics["rounding_line"] == ROUNDING and f"step {evaluated[-1].step}" in metrics["end_reason"]
    assert folder.final().step.max() < evaluated[-1].step
    np.testing.assert_allclose(recompute(load_run(folder.path)).scores, folder.final().scores, rtol=1e-4)


@pytest.mark.parametrize(("images", "measured"), [(12, False), (100, True)])
def test_the_stand_in_needs_enough_images(tiny: Tiny, finish: Finish, images: int, measured: bool) -> None:
    """An alarm that a handful of images rings; one that a run of a hundred images lacks, or that its seed changes."""
    runs = [finish(tiny(train_limit=images, seed=3))[1] for _ in range(2)]
    first, again = ([event.stand_in_auroc for event in events if isinstance(event, Evaluated)] for events in runs)
    assert first == again and all((value is not None) == measured for value in first)


def test_a_resumed_run_watches_the_same_copies(tiny: Tiny, finish: Finish) -> None:
    """Strange copies drawn anew after a stop: their AUROC would jump, and ring the alarm or hush it."""
    config = tiny(train_limit=100, steps=6, eval_every=2, lr=1.0)
    whole = [event.stand_in_auroc for event in finish(config)[1] if isinstance(event, Evaluated)]
    seen: list[Stepped] = []
    for event in run(config, should_stop=lambda: len(seen) >= 3):
        if isinstance(event, Stepped):
            seen.append(event)
        elif isinstance(event, RunStarted):
            run_id = event.run_id
    assert isinstance(event, RunStopped)
    assert isinstance(list(resume(RunFolder(Path(config.runs_dir) / run_id)))[-1], RunFinished)
    assert [event.stand_in_auroc for event in load_run(run_id, config.runs_dir).evaluated] == whole
