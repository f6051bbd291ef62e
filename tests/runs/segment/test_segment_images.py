"""Segmentation of one's own images: unreadable ones, missing masks, and detectors made of a few."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import PandaDetector, PandaError, RunConfig, UsageError, load_run
from panda_core.events import ImagesSkipped, SegmentationEvaluated

Make, Finish = Callable[..., RunConfig], Callable[..., Any]


def test_an_adaptation_has_no_maps(tiny: Make, finish: Finish) -> None:
    """A KeyError, or a map made of a single feature."""
    loaded = load_run(finish(tiny())[0].path)
    image = np.zeros((9, 9, 3), np.uint8)
    for call in (loaded.detector().anomaly_maps, loaded.detector().segment):
        with pytest.raises(UsageError, match=r"`panda-early` scores whole images.*--recipe patchcore"):
            call([image])


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return dark images with a bright left half."""
    images = np.random.default_rng(seed).integers(0, 40, (count, 24, 24, 3), dtype=np.uint8)
    images[:, :, :12] += 180
    return list(images)


@pytest.mark.parametrize("recipe", ["patchcore", "spade"])
@pytest.mark.parametrize(("count", "held"), [(2, 2), (5, 5), (12, 6), (60, 6)])
def test_a_detector_learns_from_images(tiny_backbone: str, recipe: str, count: int, held: int, tmp_path: Path) -> None:
    """No threshold where images are few; a test set of held-out images that stops the run for want of labels."""
    detector = PandaDetector(recipe=recipe, backbone=tiny_backbone, image_size=32, device="cpu").fit(pictures(count))
    assert len(detector.held_out_scores) == held
    bad = [np.rot90(image).copy() for image in pictures(4, seed=9)]
    assert detector.anomaly_scores(bad).min() > detector.anomaly_scores(pictures(9, seed=5)).max()
    assert detector.predict(bad).tolist() == [1] * 4
    maps = detector.anomaly_maps(bad)
    assert maps.shape == (4, 32, 32) and maps.mean() > detector.anomaly_maps(pictures(4, seed=5)).mean()
    assert not list(tmp_path.rglob("events.jsonl")), "nothing is left behind"
    with pytest.raises(UsageError, match="at least one image"):
        detector.segment([])


@pytest.fixture
def folder_data(tmp_path: Path) -> Path:
    """Return a folder in MVTec's layout: 12 normal images and 8 test images, 4 of them defective, with masks."""
    root = tmp_path / "surface"
    several = iter(pictures(20))
    for place, count in (("train/good", 12), ("test/good", 4), ("test/hole", 4)):
        (root / place).mkdir(parents=True)
        for number in range(count):
            image = next(several)
            if place == "test/hole":
                image[8:16, 14:22] = 255
            Image.fromarray(image).save(root / place / f"{number}.png")
    (root / "ground_truth" / "hole").mkdir(parents=True)
    mask = np.zeros((24, 24), np.uint8)
    mask[8:16, 14:22] = 255
    for number in range(4):
        Image.fromarray(mask).save(root / "ground_truth" / "hole" / f"{number}_mask.png")
    return root


def test_unreadable_images_and_masks_are_skipped_and_named(spot: Make, finish: Finish, folder_data: Path) -> None:
    """One bad file that ends the run, or moves all later images to another's row, score or mask."""

    def of(place: Path, split: str) -> list[str]:
        _, events = finish(spot(dataset=f"folder:{place}", normal_class=None))
        return [
            name
            for event in events
            if isinstance(event, ImagesSkipped) and event.split == split
            for name in event.names
        ]

    assert of(folder_data, "train") == of(folder_data, "test") == of(folder_data, "masks") == []
    for place in ("train/good/3.png", "test/good/1.png", "test/hole/0.png", "ground_truth/hole/2_mask.png"):
        (folder_data / place).write_text("no image")
    folder, events = finish(spot(dataset=f"folder:{folder_data}", normal_class=None))
    skips = {event.split: event for event in events if isinstance(event, ImagesSkipped)}
    assert {split: event.count for split, event in skips.items()} == {"train": 1, "test": 2, "masks": 1}
    assert "3.png" in skips["train"].names[0] and "hole/2.png" in skips["masks"].names[0]
    loaded = load_run(folder.path)
    split, names = loaded.split, loaded.split.test
    assert (len(split.train), len(names), len(split.reserved)) == (13, 4, 2) and len(split.skipped) == 4
    marked = dict(zip(names, split.has_mask, strict=True))
    assert [name for name, known in marked.items() if not known] == [name for name in names if "hole/2.png" in name]
    assert split.is_anomaly == [int("hole" in name) for name in names]
    images = [loaded.images("test").load(row) for row in range(4)]
    np.testing.assert_allclose(loaded.detector().anomaly_scores(images), loaded.arrays(0).scores, rtol=1e-4, atol=1e-5)
    metrics = loaded.metrics
    assert metrics is not None and metrics["marked_images"] == 3 and metrics["auroc"] == 1
    assert metrics["pixel_auroc"] > 0.7


def test_without_masks_there_are_no_pixel_metrics(spot: Make, finish: Finish, folder_data: Path) -> None:
    """Numbers of pixels that nobody marked: all of a defective image taken for the defect."""
    shutil.rmtree(folder_data / "ground_truth")
    for dataset in (f"folder:{folder_data}", "digits"):
        folder, events = finish(spot(dataset=dataset, normal_class=None, test_limit=20))
        (said,) = [event for event in events if isinstance(event, SegmentationEvaluated)]
        assert said.image_auroc is not None
        assert (said.pixel_auroc, said.aupro, said.pixel_average_precision, said.oracle_pixel_f1) == (None,) * 4
        loaded = load_run(folder.path)
        assert not any(flag for flag, bad in zip(loaded.split.has_mask, loaded.split.is_anomaly, strict=True) if bad)


def test_too_few_readable_images_are_one_sentence(spot: Make, finish: Finish, folder_data: Path) -> None:
    """A traceback of numpy where nothing could be decoded."""
    for number in range(1, 12):
        (folder_data / "train" / "good" / f"{number}.png").write_text("no image")
    with pytest.raises(PandaError, match=r"Only 1 normal image is left, .*; at least 2"):
        finish(spot(dataset=f"folder:{folder_data}", normal_class=None))
