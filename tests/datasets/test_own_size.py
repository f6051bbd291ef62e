"""The side at which images of one's own are learned, where nobody says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from panda_core import PandaDetector, RunConfig
from panda_core.datasets import find_dataset
from panda_core.runs.kinds import resolve


@pytest.mark.parametrize(
    ("width", "height", "side"), [(8, 8, 128), (150, 400, 128), (170, 161, 160), (460, 370, 160), (3000, 2000, 160)]
)
def test_the_side_follows_the_pictures(tmp_path: Path, width: int, height: int, side: int) -> None:
    """Photographs learned at 128 px, where animals are told with 96.5 in place of 98.1."""
    for number in range(4):
        Image.new("L", (width, height), 40 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "not.png").write_bytes(b"no image")
    config = RunConfig(dataset=f"folder:{tmp_path}", recipe="frozen")
    assert resolve(config).image_size == find_dataset(config.dataset).image_size == side
    assert resolve(config.replace(image_size=96)).image_size == 96
    assert resolve(config.replace(backbone="lenet", recipe="deep-svdd")).image_size == 32, "its network takes no other"


def test_deep_samples_have_a_size_too(tmp_path: Path) -> None:
    """TIFFs that Pillow does not open counted as no picture at all, and were learned at 128 px however large."""
    samples = np.random.default_rng(0).random((200, 200))  # float64
    for number in range(4):
        assert cv2.imwrite(str(tmp_path / f"{number}.tif"), samples)
    assert find_dataset(f"folder:{tmp_path}").image_size == 160


def test_pictures_that_sort_first_do_not_stand_for_all(tmp_path: Path) -> None:
    """Sixty small or broken files, first by their names, that decided for two hundred large ones."""
    (tmp_path / "a").mkdir()
    for number in range(200):
        small = number < 60 and number % 2
        Image.new("L", (16, 16) if small else (240, 200), number).save(tmp_path / "a" / f"{number:03d}.png")
        if number < 60 and not small:
            (tmp_path / "a" / f"{number:03d}.png").write_bytes(b"no image")
    assert find_dataset(f"folder:{tmp_path / 'a'}").image_size == 160


def test_images_handed_over_are_learned_at_the_side_of_a_folder_of_them(tiny_backbone: str) -> None:
    """A detector fitted in Python that sees less than a run on the same images."""
    images = list(np.random.default_rng(0).integers(0, 256, (5, 170, 200, 3), np.uint8))
    detector = PandaDetector(recipe="frozen", backbone=tiny_backbone, device="cpu").fit(images)
    assert detector.config.image_size == 160
