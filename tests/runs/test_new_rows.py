"""A new scorer, recipe or way to map defects is one file and one line: each is added here, run and used."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig, load_run
from panda_core.events import Stepped
from panda_core.methods.table import RECIPES
from panda_core.scoring.table import SCORERS, ScorerRow
from panda_core.segmentation.table import SEGMENTERS

Tiny = Callable[..., RunConfig]
Finish = Callable[..., tuple[Any, list[Any]]]
AddFile = Callable[[str, str, str], Any]

SCORER = """
import numpy as np

class LengthScorer:
    def __init__(self, *, seed=0, power=1.0):
        self.power = power

    def fit(self, features):
        self.typical_ = np.linalg.norm(features, axis=1).mean()
        return self

    def score(self, queries):
        return (np.abs(np.linalg.norm(queries, axis=1) - self.typical_) ** self.power).astype(np.float32)
"""

LEARNER = """
from panda_core.methods.learner import Learner

class Shrink(Learner):
    def loss(self, rows, step):
        return self.features(rows).square().mean()

LEARNER = Shrink
"""

# The distance of every patch to the mean normal patch of its group.
METHOD = """
import numpy as np
import torch

from panda_core.segmentation.maps import merged
from panda_core.segmentation.method import Compared
from panda_core.segmentation.patchcore import PatchCore

class MeanPatch(PatchCore):
    fused = staticmethod(merged)
    recall = 1.0

    def compare(self, groups, pooled):
        found = []
        for bank, patches in zip(self.banks, groups, strict=True):
            apart = np.linalg.norm(patches - bank.features.mean(axis=0), axis=-1)
            nearest = np.repeat(apart[..., None], 3, axis=-1)
            found.append(Compared(nearest, np.zeros((*nearest.shape, 4), np.int32)))
        return found

METHOD = MeanPatch
"""


@pytest.fixture
def add_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddFile:
    """Return a function (package, name, text) -> the module of a new file of `panda_core`, gone after the test."""

    def add(package: str, name: str, text: str) -> Any:
        parent = importlib.import_module(f"panda_core.{package}")
        (tmp_path / package).mkdir()
        (tmp_path / package / f"{name}.py").write_text(text)
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(tmp_path / package)])
        module = importlib.import_module(f"{parent.__name__}.{name}")
        monkeypatch.delattr(parent, name)
        monkeypatch.delitem(importlib.sys.modules, module.__name__)  # type: ignore[attr-defined]
        return module

    return add


def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8))


def test_a_scorer_is_a_file_and_a_line(
    tiny: Tiny, finish: Finish, add_file: AddFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second list of scorers: a new one that a detector, a loop or a check does not know."""
    module = add_file("scoring", "length", SCORER)
    monkeypatch.setitem(
        SCORERS, "length", ScorerRow("distance from the typical length", "nowhere", module.LengthScorer)
    )
    folder, _ = finish(tiny(recipe="frozen", scorer="length", steps=None))
    scores = load_run(folder.path).detector().anomaly_scores(pictures())
    assert scores.shape == (3,) and (scores >= 0).all()


def test_a_recipe_is_a_file_and_a_line(
    tiny: Tiny, finish: Finish, add_file: AddFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner that has to be named in a second place, as the loop's or the detector's special case."""
    add_file("methods", "shrink", LEARNER)
    row = dataclasses.replace(RECIPES["panda-early"], title="Shrink", source="nowhere", learner="shrink")
    monkeypatch.setitem(RECIPES, "shrink", row)
    losses = {}
    for recipe in ("panda-early", "shrink"):
        folder, events = finish(tiny(recipe=recipe))
        losses[recipe] = [event.loss for event in events if isinstance(event, Stepped)]
    assert losses["shrink"][0] > losses["panda-early"][0], "features are farther from the origin than from their center"
    assert load_run(folder.path).detector().anomaly_scores(pictures()).shape == (3,)


def test_a_way_to_map_defects_is_a_file_and_a_line(
    spot: Tiny, finish: Finish, add_file: AddFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that builds its methods by name, and takes every unknown one for PatchCore."""
    add_file("segmentation", "mean_patch", METHOD)
    row = dataclasses.replace(SEGMENTERS["patchcore"], title="Mean patch", source="nowhere", method="mean_patch")
    monkeypatch.setitem(SEGMENTERS, "mean-patch", row)
    maps = {}
    for recipe in ("mean-patch", "patchcore"):
        folder, _ = finish(spot(recipe=recipe))
        maps[recipe] = load_run(folder.path).detector().anomaly_maps(pictures())
        assert maps[recipe].shape == (3, 32, 32) and np.isfinite(maps[recipe]).all()
    assert not np.allclose(maps["mean-patch"], maps["patchcore"])
