"""Everything wrong with a config is found before anything is computed, in one sentence with the next step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import DataMissing, RunConfig, UsageError
from panda_core.backbones import BACKBONES
from panda_core.datasets import DATASETS, ArrayImages, OneClassTask
from panda_core.methods.table import RECIPES
from panda_core.runs.calibration import count_held_out, held_out_rows
from panda_core.runs.kinds import prepare, resolve
from panda_core.scoring.table import SCORERS


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "digit"}, r"Unknown dataset `digit`; known: `digits`.*Did you mean `--dataset digits`"),
        ({"recipe": "panda-erly"}, r"Unknown recipe `panda-erly`; known: `panda-early`.*`--recipe panda-early`"),
        ({"scorer": "knm"}, r"Unknown scorer `knm`; known: `knn`.*`--scorer knn`"),
        ({"backbone": "efficientnet_lite3"}, r"Unknown backbone .*`--backbone efficientnet_lite\d`"),
        ({"normal_class": "12"}, r"Unknown class of `digits` `12`; known: .*--normal-class"),
        ({"set": {"kk": 3}}, r"Unknown option `kk`; known: `k`.*`--set k`"),
        ({"set": {"k": 0}}, r"`k` must be a whole number in \[1, 1000\]; got `0`.*--set k=2"),
        ({"set": {"ses": "B"}}, r"Unknown option `ses`"),
        ({"set": {"cut": "blocks.9"}}, r"Unknown value of `cut` `blocks.9`; known: `blocks.\d`"),
        (
            {"recipe": "mhrot", "scorer": "knn", "set": {"mhrot_score": "knn"}},
            r"`mhrot_score` has no effect while `scorer` is `knn`.*--scorer own",
        ),
        ({"recipe": "frozen", "steps": 5}, r"`steps` of recipe `frozen` must be 0.*got 5"),
        ({"recipe": "frozen", "lr": 0.5}, r"`lr` has no effect with recipe `frozen`.*got `0.5`.*`--lr` out"),
        ({"recipe": "ocsvm", "batch_size": 64}, r"`batch_size` has no effect with recipe `ocsvm`.*`--batch-size` out"),
        ({"recipe": "frozen", "eval_every": 5}, r"`eval_every` has no effect with recipe `frozen`"),
        (
            {"recipe": "deep-svdd", "set": {"nu": "0.2"}},
            r"`nu` has no effect while `objective` is `one-class`: it needs `soft-boundary`; got `0.2`.*"
            r"set `--set objective=soft-boundary`",
        ),
        ({"recipe": "deep-svdd", "set": {"warm_up": 0.5}}, r"`warm_up` has no effect while `objective`"),
        ({"recipe": "mhrot", "set": {"gallery_images": 7}}, r"`gallery_images` has no effect while `mhrot_score`"),
        (
            {"recipe": "ocsvm", "scorer": "knn", "set": {"svm_grid": "oracle"}},
            r"`svm_grid` has no effect while `scorer` is `knn`: it needs `ocsvm`.*set `--scorer ocsvm`",
        ),
        ({"feature_norm": "l2", "set": {"whiten_dims": 8}}, r"`whiten_dims` has no effect.*--feature-norm whiten"),
        ({"dataset": "folder:/nowhere"}, r"/nowhere"),
        ({"dataset": "folder:"}, r"--dataset folder:PATH"),
    ],
)
def test_a_wrong_name_or_value_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    """A traceback, a default in place of a misspelt name, or an error after minutes of computing."""
    with pytest.raises(UsageError, match=sentence):
        resolve(RunConfig(**changes))


def test_missing_data_says_what_to_get(tmp_path: Path) -> None:
    """FileNotFoundError for a data set that has to be fetched first."""
    with pytest.raises(DataMissing, match=r"cifar-10-python\.tar\.gz"):
        resolve(RunConfig(dataset="cifar10", data_root=str(tmp_path)))


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("scorer", sorted(SCORERS))
def test_every_default_is_written_out(pictures: Callable[[], Path], recipe: str, scorer: str) -> None:
    """A saved config with a None in it, which means something else in a later version."""
    pictures()
    config = resolve(RunConfig(recipe=recipe, scorer=scorer))
    unset = {key for key, value in config.to_json().items() if value is None}
    assert unset == {"train_limit", "test_limit"}, "no limit is no default"
    backbone = BACKBONES[RECIPES[recipe].backbone]
    assert set(config.set) == set(RECIPES[recipe].options) | set(SCORERS[scorer].options) | set(backbone.options)
    assert config.steps == RECIPES[recipe].steps
    assert (config.backbone, config.lr) == (backbone.key, RECIPES[recipe].lr or backbone.lr)
    assert config.image_size == (backbone.image_size or DATASETS["digits"].image_size)
    assert resolve(config) == config


def test_given_values_win_over_defaults() -> None:
    """A setting of the user's replaced by the recipe's, above all one that is zero."""
    given = RunConfig(normal_class=8, steps=0, lr=0.5, image_size=64, feature_norm="l2", eval_every=3, set={"k": "5"})  # type: ignore[arg-type]
    config = resolve(given)
    found = (config.normal_class, config.steps, config.lr, config.image_size, config.feature_norm, config.eval_every)
    assert found == ("8", 0, 0.5, 64, "l2", 3)
    assert config.set["k"] == 5


def test_networks_like_the_papers_follow_the_paper() -> None:
    """2,300 steps on two cores by default for the bundled network, or 128 for the paper's ResNet."""
    config = resolve(RunConfig(backbone="timm:resnet18.tv_in1k"))
    assert (config.steps, config.lr, config.feature_norm, config.image_size) == (2300, 0.01, "none", 224)


def test_elastic_weights_are_as_firm_as_the_paper_says_where_the_network_is_like_the_papers() -> None:
    """The paper's strength for a network whose weights it nails down, or another one under the paper's name."""
    like, unlike = (RunConfig(recipe="panda-ewc", backbone=key) for key in ("timm:resnet18.tv_in1k", None))
    assert resolve(like).set["ewc_strength"] == 1e4
    assert resolve(unlike).set["ewc_strength"] == 10
    assert resolve(unlike.replace(set={"ewc_strength": 1e4})).set["ewc_strength"] == 1e4


def test_more_neighbours_than_normal_images_are_refused(tiny: Callable[..., RunConfig]) -> None:
    """faiss asked for neighbours that do not exist, after the data has passed the network."""
    assert prepare(tiny(set={"k": 10})).config.set["k"] == 10
    with pytest.raises(UsageError, match=r"`k` of scorer `knn` must be in \[1, 10\].*got 11.*--set k=2"):
        prepare(tiny(set={"k": 11}))
    with pytest.raises(UsageError, match=r"`means` of scorer `kmeans` must be in \[1, 3\].*--set means=2"):
        prepare(tiny(scorer="kmeans", train_limit=5))


def few_images(count: int) -> OneClassTask:
    arrays = np.random.default_rng(0).integers(0, 256, (count + 2, 16, 16, 3), dtype=np.uint8)
    images = ArrayImages(arrays, [str(row) for row in range(count + 2)])
    return OneClassTask(images.subset(range(count)), images.subset([count, count + 1]), np.array([0, 1], np.uint8))


def test_too_few_images_are_refused(tiny: Callable[..., RunConfig]) -> None:
    """A hold-out of none, or a mean of one."""
    with pytest.raises(UsageError, match=r"At least 2 normal images.*got 1"):
        prepare(tiny(), few_images(1))
    with pytest.raises(UsageError, match=r"`panda-ses` needs at least 4 normal images.*got 3.*--recipe panda-early"):
        prepare(tiny(recipe="panda-ses"), few_images(3))
    assert prepare(tiny(recipe="panda-ses"), few_images(4))


def test_ewc_needs_a_classifier(
    tiny: Callable[..., RunConfig], tiny_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Fisher diagonal of a network that classifies nothing."""
    row = dataclasses.replace(BACKBONES["tiny"], load=lambda cut, weights="": tiny_network(classifier=None))
    monkeypatch.setitem(BACKBONES, "tiny", row)
    with pytest.raises(UsageError, match=r"`panda-ewc` needs a backbone with a classifier.*--recipe panda-l2"):
        prepare(tiny(recipe="panda-ewc"))


def test_an_absent_device_is_refused(tiny: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback of CUDA, or the CPU used without a word."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"Device `cuda` is not on this machine.*--device auto"):
        prepare(tiny(device="cuda"))
    assert prepare(tiny(device="auto")).device.type in ("cpu", "mps")


@pytest.mark.parametrize(("normals", "held_out"), [(2, 0), (3, 0), (4, 2), (14, 7), (40, 19), (500, 50)])
def test_a_tenth_is_held_out(normals: int, held_out: int) -> None:
    """All of few images held out, or too few to promise anything; rows that differ between two looks."""
    assert count_held_out(normals) == held_out
    rows = held_out_rows(normals, seed=3)
    assert len(set(rows.tolist())) == held_out and (np.diff(rows) > 0).all()
    assert rows.tolist() == held_out_rows(normals, seed=3).tolist()
    assert held_out < 50 or rows.tolist() != held_out_rows(normals, seed=4).tolist()
