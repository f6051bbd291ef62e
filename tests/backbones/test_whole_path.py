"""The whole path of each family: adapt, score, open again, map and export. Weights are random, from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from panda_core import PandaDetector, RunConfig, load_run
from panda_core.backbones import timm_loading
from panda_core.export.network_file import write_network
from tests.backbones.families import FAMILIES, register

register()
# An ONNX file takes the exporter seconds; a traced graph shows the same of what the halves compute.
FORMATS = {name: "torchscript" for name in FAMILIES} | {"small_dinov3": "onnx"}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return (name, file of random weights)."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    save_file(timm_loading.create(request.param, pretrained=False).state_dict(), file)
    return request.param, file


def plates(count: int, side: int, place: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Return grey plates with noise (side, side, 3), with a dark square around a place (row, column)."""
    rng = np.random.default_rng(count)
    images = rng.normal(150, 6, (count, side, side, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=3)
    if place is not None:
        images[:, place[0] - 10 : place[0] + 10, place[1] - 10 : place[1] + 10] = 10
    return list(images)


@pytest.mark.parametrize("recipe", ["panda-early", "msc"])
def test_adapt_score_and_open_again(
    family: tuple[str, Path], recipe: str, finish: Callable[..., Any], tmp_path: Path
) -> None:
    """Tokens that the cache, the views, a checkpoint or the exported graph takes for maps; a tail that never moves."""
    name, weights = family
    side = FAMILIES[name][1]
    config = RunConfig(
        dataset="digits",
        normal_class="3",
        backbone=f"timm:{name}",
        recipe=recipe,
        image_size=side,
        train_limit=8,
        test_limit=6,
        batch_size=4,
        steps=2,
        eval_every=2,
        lr=0.05,
        runs_dir=str(tmp_path / "runs"),
        device="cpu",
        set={"weights": str(weights)},
    )
    folder, _ = finish(config)
    loaded = load_run(folder.path)
    assert folder.config().set["cut"] == FAMILIES[name][2]
    first, last = (loaded.arrays(step).scores for step in (0, 2))
    assert np.isfinite(last).all() and not np.array_equal(first, last)
    scores = loaded.detector().anomaly_scores([loaded.images("test").load(row) for row in range(2)])
    np.testing.assert_allclose(scores, loaded.arrays("final").scores[:2], rtol=1e-3)
    if recipe == "panda-early":
        assert write_network(loaded, tmp_path / "network", FORMATS[name]).difference <= 1e-4


def test_a_defects_map_lies_over_it(family: tuple[str, Path]) -> None:
    """Maps of a transformer turned, moved by its class token, or spread over cells that it does not have."""
    name, weights = family
    side = FAMILIES[name][1]
    detector = PandaDetector(
        recipe="patchcore", backbone=f"timm:{name}", image_size=side, device="cpu", set={"weights": str(weights)}
    ).fit(plates(6, side))
    place = round(side * 0.3), round(side * 0.68)
    (values,) = detector.anomaly_maps(plates(1, side, place))
    found = np.unravel_index(int(values.argmax()), values.shape)
    assert np.abs(np.array(found) - place).max() <= side / 8
