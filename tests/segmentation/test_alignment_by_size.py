"""At any size and with any kind of network: a planted defect's map lies over it, also near the rim and flipped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from panda_core import PandaDetector, RunConfig, load_run, run
from panda_core.backbones import BACKBONES, find_backbone, timm_loading
from panda_core.datasets import ArrayImages, OneClassTask, find_dataset
from panda_core.events import DataNoted, RunFinished
from panda_core.runs.data import GIVEN_IMAGES

SIDE = 128  # of the images, in which all places and distances are given
RADIUS = 5


def plate(seed: int, place: tuple[float, float] | None = None, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Return a grey plate with soft waves and noise, and a dark disc at a place (row, column)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] + 0.5
    grey = 150 + 18 * np.sin(columns / 7) + 10 * np.cos(rows / 5) + rng.normal(0, 5, (height, width))
    if place is not None:
        grey[np.hypot(rows - place[0], columns - place[1]) < RADIUS] = 25
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture
def random_resnet(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the key of a ResNet-18 with random weights, whose cells lie half a stride left of an even division."""

    def load(cut: str, weights: str = "") -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return timm_loading.load("resnet18", cut, pretrained=False)

    row = dataclasses.replace(
        find_backbone("efficientnet_lite0"), key="resnet", load=load, cut="", cuts=(), levels=("layer2", "layer3")
    )
    monkeypatch.setitem(BACKBONES, "resnet", dataclasses.replace(row, feature_norm="none"))
    return "resnet"


def detector(size: int, backbone: str = "efficientnet_lite0", recipe: str = "patchcore", **options: Any) -> Any:
    learner = PandaDetector(recipe=recipe, backbone=backbone, image_size=size, device="cpu", set=options)
    return learner.fit([plate(seed) for seed in range(8)])


def middles(maps: np.ndarray) -> np.ndarray:
    """Return the middle (M, 2), in pixels of the image, of the highest fiftieth of each map (M, S, S)."""
    found = []
    for values in maps:
        weights = np.where(values > np.quantile(values, 0.98), values, 0)
        places = (np.indices(values.shape) + 0.5) * SIDE / np.array(values.shape)[:, None, None]
        found.append((weights * places).sum(axis=(1, 2)) / weights.sum())
    return np.array(found)


CASES = [
    (129, "efficientnet_lite0", "patchcore", {}),
    (127, "efficientnet_lite2", "patchcore", {"levels": "blocks.2,blocks.4", "merge": "concat"}),
    (160, "efficientnet_lite1", "spade", {"levels": "blocks.3"}),
    (128, "resnet", "patchcore", {}),
    (101, "resnet", "spade", {}),
]


@pytest.mark.parametrize(("size", "backbone", "recipe", "options"), CASES)
def test_a_map_lies_over_the_defect(
    random_resnet: str, size: int, backbone: str, recipe: str, options: dict[str, Any]
) -> None:
    """Maps moved right and down by as much as the size is off the network's stride, or by its paddings: 5 pixels."""
    rng = np.random.default_rng(size)
    places = rng.uniform(28, 100, (12, 2))
    images = [plate(100 + number, tuple(place)) for number, place in enumerate(places)]
    learner = detector(size, backbone, recipe, **options)
    maps = learner.anomaly_maps([*images, *(image[:, ::-1] for image in images)])
    assert maps.shape == (24, size, size)
    away = middles(maps[:12]) - places
    assert np.abs(np.median(away, axis=0)).max() < 1.2, away
    mirrored = middles(maps[12:, :, ::-1]) - places
    # A map that is moved is moved to the same side in the flipped image: twice as far, once that is flipped back.
    assert np.abs(np.median(mirrored - away, axis=0)).max() < 2.0


@pytest.mark.parametrize(("size", "height", "width"), [(96, SIDE, SIDE), (121, SIDE, SIDE), (128, 64, 192)])
def test_a_defect_near_the_rim_is_not_drawn_on_the_border(size: int, height: int, width: int) -> None:
    """The highest row of every such map is the first or the last, wherever in the outermost patches the defect is."""
    learner = PandaDetector(recipe="patchcore", image_size=size, device="cpu")
    learner.fit([plate(seed, None, height, width) for seed in range(8)])
    near = RADIUS + 3.0
    places = [(near, width * 0.4), (height - near, width * 0.6), (height * 0.4, near), (height * 0.6, width - near)]
    maps = learner.anomaly_maps([plate(100 + n, place, height, width) for n, place in enumerate(places)])
    for place, values in zip(places, maps, strict=True):
        peak = (np.array(np.unravel_index(values.argmax(), values.shape)) + 0.5) * (height, width) / size
        assert 1 < peak[0] < height - 1 and 1 < peak[1] < width - 1
        assert np.hypot(*(peak - place)) < 8


def test_maps_at_neighbouring_sizes_are_alike() -> None:
    """Accuracy that falls by a quarter between 128 and 129 pixels."""
    images = [plate(100 + number, (40.0 + 5 * number, 60.0)) for number in range(4)]
    even, odd = (detector(size).segment(images) for size in (128, 129))
    np.testing.assert_allclose(odd.grids, even.grids, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(odd.scores, even.scores, rtol=1e-4, atol=1e-4)


def test_a_size_that_is_not_used_is_said(tiny_backbone: str, tmp_path: Any) -> None:
    """Another size than the one asked for, and nothing that says so."""

    images = ArrayImages([plate(seed) for seed in range(4)], list("abcd"))
    task = OneClassTask(images, images, np.zeros(4, np.uint8))
    said = {}
    for size in (64, 65):
        config = RunConfig(
            dataset=GIVEN_IMAGES, recipe="patchcore", backbone=tiny_backbone, image_size=size, runs_dir=str(tmp_path)
        )
        events = list(run(config, task=task))
        said[size] = [event.told for event in events if isinstance(event, DataNoted)]
        (started,) = (event for event in events if hasattr(event, "run_id"))
        assert load_run(started.run_id, tmp_path).config.image_size == size
    assert said[64] == []
    (told,) = said[65]
    assert "64 px" in told and "65 px" in told and "--image-size 64" in told


def test_tiles_are_mapped_as_well_at_an_odd_size(real_data: Path, tmp_path: Path) -> None:
    """AUPRO on magnetic tiles that falls from 61 to 44 between 128 and 129 pixels, with 200 tiles to learn from."""
    config = RunConfig(
        dataset="magnetic_tiles",
        data_root=str(real_data),
        recipe="patchcore",
        train_limit=60,
        test_limit=80,
        runs_dir=str(tmp_path),
    )
    if find_dataset("magnetic_tiles").missing(real_data):
        pytest.skip("real data: magnetic_tiles/ is not in the data folder")
    aupro = {}
    for size in (127, 128, 129):  # the maps are the same; the masks, reduced to each size, are not quite
        (finished,) = (event for event in run(config.replace(image_size=size)) if isinstance(event, RunFinished))
        aupro[size] = finished.metrics["aupro"]
    assert aupro[128] > 0.5
    assert aupro[127] == pytest.approx(aupro[128], abs=0.02)
    assert aupro[129] == pytest.approx(aupro[128], abs=0.02)
