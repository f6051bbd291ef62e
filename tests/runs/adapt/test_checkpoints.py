"""Runs of large networks: images kept in place of activations, and no more checkpoints than the stop rule needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from panda_core import RunConfig, load_run
from panda_core.cli import main
from panda_core.errors import PandaError
from panda_core.events import CheckpointSaved, DataNoted, RunFinished, Stepped
from panda_core.methods.compactness import Compactness
from panda_core.runs.adapt.checkpoints import drop_unneeded
from panda_core.runs.adapt.layers import layers_of
from panda_core.runs.folder import CHECKPOINTS, GALLERIES, RunFolder, list_runs
from panda_core.runs.run import run
from panda_core.runs.tensors import read_tensors


@pytest.mark.parametrize(
    ("recipe", "kept"), [("panda-early", 1), ("panda-ewc", 1), ("panda-alarm", 2), ("panda-ses", 4)]
)
def test_a_pruned_run_verifies_and_scores(recipe: str, kept: int, tiny: Callable[..., RunConfig], capsys: Any) -> None:
    """A finished cell of gigabytes; or a small one whose detector, or proof, lacks a checkpoint."""
    folder: RunFolder | None = None
    most = 0
    for event in run(tiny(recipe=recipe, name="pruned")):
        if isinstance(event, (CheckpointSaved, RunFinished)):
            (folder,) = list_runs(tiny().runs_dir)
            drop_unneeded(folder)
            most = max(most, len(folder.steps_in(CHECKPOINTS)))
    assert folder is not None
    left = len(folder.steps_in(CHECKPOINTS))
    assert left <= kept and len(folder.steps_in(GALLERIES)) <= kept
    assert most <= (3 if kept == 1 else 4)
    assert main(["verify", str(folder.path)]) == 0 and "bit for bit" in capsys.readouterr().out
    image = np.zeros((32, 32, 3), np.uint8)
    assert np.isfinite(load_run(folder.path).detector().anomaly_scores([image])).all()
    assert layers_of(folder) and max(layer.moved for layer in layers_of(folder)) > 0


def test_a_run_too_large_for_the_cache_is_the_same_run(
    tiny: Callable[..., RunConfig], finish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores that depend on how much disk the cache may take; a full cache that is never told of."""
    folder, _ = finish(tiny(recipe="panda-ewc"))
    monkeypatch.setattr("panda_core.features.cache.form_that_fits", lambda *_, **__: ("images", "Told."))
    monkeypatch.setattr("panda_core.runs.adapt.inputs.form_that_fits", lambda *_, **__: ("images", "Told."))
    other, events = finish(tiny(recipe="panda-ewc"))
    assert [event.told for event in events if isinstance(event, DataNoted) and event.told == "Told."] == ["Told."]
    np.testing.assert_array_equal(folder.final().scores, other.final().scores)


def test_half_precision_computes_the_same_up_to_rounding(
    tiny: Callable[..., RunConfig], finish: Callable[..., Any]
) -> None:
    """Weights, distances or a whole run in sixteen bits; an option without effect; a run that is not verified by it."""
    exact, events = finish(tiny(recipe="panda-ewc", feature_norm="whiten"))
    rounded, others = finish(tiny(recipe="panda-ewc", feature_norm="whiten", set={"precision": "bfloat16"}))
    losses, half = ([event.loss for event in found if isinstance(event, Stepped)] for found in (events, others))
    assert len(losses) == len(half) == 6
    assert losses != half and np.allclose(losses, half, rtol=0.1)
    scores, close = exact.final().scores, rounded.final().scores
    assert np.corrcoef(scores, close)[0, 1] > 0.98 and not np.array_equal(scores, close)
    assert all(value.dtype == torch.float32 for value in read_tensors(rounded.checkpoint(6)).values())
    assert main(["verify", str(rounded.path)]) == 0


def test_a_loss_that_bursts_between_two_looks_is_named_by_its_step(
    tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends with numbers made of nothing, or blames the step at which somebody looked."""
    monkeypatch.setattr("panda_core.runs.adapt.loop.STEPS_LOGGED", 1)
    real = Compactness.loss

    def loss(self: Compactness, rows: np.ndarray, step: int) -> torch.Tensor:
        return real(self, rows, step) * (float("inf") if step == 2 else 1.0)

    monkeypatch.setattr(Compactness, "loss", loss)
    with pytest.raises(PandaError, match="not finite at step 3"):
        list(run(tiny(recipe="panda-early", eval_every=5, steps=6)))
