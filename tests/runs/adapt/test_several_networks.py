"""Several networks as one backbone: a space and a score for each, and the mean of their scores."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from panda_core import RunConfig, load_run
from panda_core.backbones import BACKBONES
from panda_core.backbones.network import Network
from panda_core.backbones.side_by_side import side_by_side
from panda_core.errors import BrokenRun
from panda_core.export.network_file import graph_of
from panda_core.runs.kinds import recompute
from panda_core.runs.run import resume
from panda_core.scoring.joined import JoinedScorer
from panda_core.scoring.table import SCORERS

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]
WAYS = [(scorer, norm) for scorer in SCORERS for norm in ("none", "whiten")]
NETWORKS = ("tiny", "other", "both")


@pytest.fixture
def networks(tiny_backbone: str, tiny_network: Callable[..., Network], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small networks that differ, and both as one, in the table of backbones."""

    def other() -> Network:
        network = tiny_network()
        tail = copy.deepcopy(network.tail)
        with torch.no_grad():
            for value in tail.parameters():
                value.copy_(value.flip(0) + 0.1)
        return dataclasses.replace(network, tail=tail, weights_sha256="1" * 64)

    loads = {"other": other, "both": lambda: side_by_side([tiny_network(), other()])}
    for key, load in loads.items():
        row = dataclasses.replace(BACKBONES[tiny_backbone], key=key, load=lambda cut, weights="", load=load: load())
        monkeypatch.setitem(BACKBONES, key, row)


def found_by(finish: Finish, config: RunConfig) -> dict[str, Any]:
    """Return what each of the networks, and both, give: a run's folder."""
    return {key: finish(config.replace(backbone=key))[0] for key in NETWORKS}


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize(("scorer", "norm"), WAYS)
def test_the_score_is_the_mean_of_each_networks(tiny: Tiny, finish: Finish, scorer: str, norm: str) -> None:
    """Features of all networks in one space, or of one network scored in the space of another."""
    config = tiny(recipe="frozen", steps=None, scorer=scorer, feature_norm=norm)
    runs = {key: load_run(folder.path) for key, folder in found_by(finish, config).items()}
    for name in ("scores", "held_out_scores"):
        one, other, both = (getattr(runs[key].adapt_arrays(0), name).astype(float) for key in NETWORKS)
        wanted = np.sqrt(one * other) if SCORERS[scorer].positive else (one + other) / 2
        np.testing.assert_allclose(both, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).mean())
    images = list(np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    one, other, both = (runs[key].detector().anomaly_scores(images).astype(float) for key in NETWORKS)
    wanted = np.sqrt(one * other) if SCORERS[scorer].positive else (one + other) / 2
    if SCORERS[scorer].positive:  # detectors count in what normal images score, of which a mean of means is not one
        wanted *= both[0] / wanted[0]
        np.testing.assert_allclose(both, wanted, rtol=1e-3)
    with torch.no_grad():
        found = graph_of(runs["both"].detector())(torch.from_numpy(np.stack(images))).numpy()
    np.testing.assert_allclose(found, both, rtol=1e-4, atol=1e-4 * np.abs(both).mean())


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("recipe", ["panda-early", "panda-ses", "panda-ewc", "panda-oe", "joint", "msc"])
def test_every_network_is_adapted(tiny: Tiny, finish: Finish, recipe: str) -> None:
    """A tail that is paid for and never learns; a run that cannot be read back."""
    folder, _ = finish(tiny(recipe=recipe, backbone="both"))
    run = load_run(folder.path)
    tails = [run.folder.checkpoint(step) for step in (0, 6)]
    before, after = (dict(load_file(file)) for file in tails)
    for part in ("parts.0.", "parts.1."):
        names = [name for name in before if name.startswith(part)]
        assert names and any(not torch.equal(before[name], after[name]) for name in names)
    np.testing.assert_array_equal(recompute(run).scores, run.final().scores)


@pytest.mark.usefixtures("networks")
def test_other_weights_than_the_runs_are_told(tiny: Tiny, finish: Finish) -> None:
    """Scores of one network beside normal images of another, as after another installation, without a word."""
    folder, _ = finish(tiny(recipe="frozen", steps=None))
    recorded = json.loads(folder.environment_file.read_text())
    folder.environment_file.write_text(json.dumps({**recorded, "weights_sha256": "2" * 64}))
    with pytest.raises(BrokenRun, match="made with other weights of its network"):
        load_run(folder.path).detector()
    folder.write_state("interrupted")
    with pytest.raises(BrokenRun, match="made with other weights of its network"):
        list(resume(folder))


@pytest.mark.parametrize("positive", [True, False])
def test_scores_out_of_the_range_of_their_product(positive: bool) -> None:
    """Scores that are infinite or zero once three are multiplied in float32."""

    class Fixed:
        def __init__(self, value: float) -> None:
            self.value = value

        def score(self, queries: np.ndarray) -> np.ndarray:
            return np.full(len(queries), self.value, np.float32)

    scorer = JoinedScorer([Fixed(value) for value in (1e-20, 1e-21, 1e-22)], (2, 3, 4), positive=positive)
    wanted = 1e-21 if positive else 3.7e-21
    assert scorer.score(np.zeros((2, 9), np.float32)) == pytest.approx(wanted, rel=1e-5)
