"""Regions that are refused, or of which little is left: nothing may come out that looks like a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, UsageError
from panda_core.datasets import ArrayImages, OneClassTask
from panda_core.events import ImagesSkipped
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.kinds import resolve
from panda_core.runs.run import run


def strip(tmp_path: Path, rows: int) -> str:
    """Return the file of a region for images of 64 x 96: a strip, so many rows high."""
    marked = np.zeros((64, 96), np.uint8)
    marked[30 : 30 + rows, 4:90] = 255
    Image.fromarray(marked).save(tmp_path / "strip.png")
    return str(tmp_path / "strip.png")


@pytest.mark.parametrize("recipe", ["frozen", "patchcore"])
def test_a_region_of_which_the_network_sees_nothing_is_refused(tmp_path: Path, recipe: str) -> None:
    """A strip that resizing mixes with paint to the last pixel: every image scored 0 and was called normal."""
    config = RunConfig(dataset="digits", recipe=recipe, image_size=32, roi=strip(tmp_path, 3))
    with pytest.raises(UsageError, match=r"too thin: at 32 px nothing of it is left.*--image-size 64"):
        run_all(config)


def run_all(config: RunConfig) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)
    task = OneClassTask(ArrayImages(images, [str(row) for row in range(12)]), ArrayImages(images[:2], ["a", "b"]),
                        np.array([0, 1], np.uint8))  # fmt: skip
    for _ in run(config.replace(dataset=GIVEN_IMAGES, normal_class=None, runs_dir="unused"), task=task):
        pass


def test_images_that_differ_inside_a_small_region_are_no_copies(tmp_path: Path) -> None:
    """Paint that is most of every picture: different images were then left out as copies of one another."""
    rng = np.random.default_rng(0)
    (tmp_path / "good").mkdir()
    for number in range(12):
        picture = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "good" / f"{number}.png")
        picture[:30] = rng.integers(0, 256, (30, 96, 3), dtype=np.uint8)
        if number == 0:  # the same where it counts
            Image.fromarray(picture).save(tmp_path / "good" / "again.png")
    config = RunConfig(
        dataset=f"folder:{tmp_path / 'good'}",
        recipe="frozen",
        image_size=64,
        roi=strip(tmp_path, 10),
        runs_dir=str(tmp_path / "runs"),
    )
    skipped = [event for event in run(config) if isinstance(event, ImagesSkipped)]
    assert [(event.split, event.names) for event in skipped] == [("copies", ["again.png"])]


def test_a_photograph_is_no_region(tmp_path: Path) -> None:
    """A photograph cut at half, which marks whatever is bright in it."""
    ramp = np.tile(np.linspace(0, 252, 96).astype(np.uint8), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "photo.png")
    with pytest.raises(UsageError, match=r"photo.png.*is neither black nor white.*white and all else black"):
        resolve(RunConfig(dataset="digits", roi=str(tmp_path / "photo.png")))
