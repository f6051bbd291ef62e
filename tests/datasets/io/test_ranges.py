"""One range for all images of a data set: from the training images or given, part of every digest, never by image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import OneClassTask, find_dataset, one_class_task, split_digest
from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.ranges import levels_of_range, used_range
from panda_core.datasets.io.samples import Levels
from panda_core.errors import UsageError
from panda_core.runs.given import decode_given
from tests.datasets.io.tiff_files import write_tiff


def opened(folder: Path, text: str = "full") -> OneClassTask:
    """Return the task of a folder whose images are read in `range=text`."""
    found = find_dataset(f"folder:{folder}").open(folder, "good", 0).train
    assert isinstance(found, FileImages)
    splits = find_dataset(f"folder:{folder}", levels_of_range(text, found)).open(folder, "good", 0)
    return one_class_task(splits, train_limit=None, test_limit=None, seed=0)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Return a folder of 16-bit images: normal ones from 1000 to 3000 and a little beyond, an anomaly up to 9000."""
    rng = np.random.default_rng(0)
    for row in range(11):
        place = tmp_path / ("bad" if row == 10 else "good") / f"{row:02d}.png"
        place.parent.mkdir(exist_ok=True)
        values = rng.integers(1000, 3001, (40, 50))
        values[:2] = (1000, 3000)[row % 2] if row < 10 else 9000
        values[0, 0] = 60000  # a hot pixel
        Image.fromarray(values.astype(np.uint16)).save(place)
    return tmp_path


def test_the_range_of_a_data_set_is_that_of_its_training_images(deep: Path) -> None:
    """Guards: a range that the anomalies widen, which needs labels; one hot pixel that makes everything dark."""
    task = opened(deep, "data")
    assert isinstance(task.train, FileImages) and task.train.levels == Levels(1000, 3000)
    for images in (task.train, task.test):
        for row in range(len(images)):
            assert isinstance(images, FileImages)
            stored = np.asarray(Image.open(images.paths[row])).astype(float)
            expected = np.clip(np.rint((stored - 1000) * 255 / 2000), 0, 255)
            np.testing.assert_array_equal(images.load(row)[..., 0], expected)


def test_what_a_run_stores_reads_new_images_alike(deep: Path) -> None:
    """Guards: new images read in a range of their own, or in the whole one, by a run that learned in another."""
    task = opened(deep, "data")
    assert isinstance(task.train, FileImages)
    levels = task.train.levels
    assert levels == levels_of_range(str(levels))
    assert split_digest(opened(deep, str(levels)).train) == split_digest(task.train)
    (new,) = decode_given([task.train.paths[2]], levels=levels)
    np.testing.assert_array_equal(new, task.train.load(2))


def test_another_range_is_another_set_of_images(deep: Path) -> None:
    """Guards: cached activations of the dark images used for the bright ones."""
    digests = {split_digest(opened(deep, text).train) for text in ("full", "data", "0-3000", "0-3000.5")}
    assert len(digests) == 4
    train = opened(deep, "0-3000").train
    assert train.digest(1) == train.subset([1]).digest(0)


@pytest.mark.parametrize("text", ["", "half", "5-3", "5", "3-3", "-", "1-2-3", "nan-inf", "Data"])
def test_another_text_is_refused(text: str, deep: Path) -> None:
    """Guards: a range upside down; a word that is taken for the whole range."""
    with pytest.raises(UsageError, match=r"`range` must be `full`, `data` or LOW-HIGH"):
        opened(deep, text)


def test_signed_and_real_ranges_can_be_written(tmp_path: Path) -> None:
    """Guards: degrees below zero that no range can name."""
    assert levels_of_range("-20.5-40") == Levels(-20.5, 40) and levels_of_range("-3--1") == Levels(-3, -1)
    assert levels_of_range("1e-3-2.5E2") == Levels(0.001, 250)
    for levels in (Levels(-20.5, 40), Levels(-3, -1), Levels(1e-9, 1e12)):
        assert levels_of_range(str(levels)) == levels


def test_what_has_no_range_is_refused(tmp_path: Path, deep: Path) -> None:
    """Guards: 8-bit data whose range is set in vain; two depths stretched as if they were one; arrays."""
    shallow = FileImages([tmp_path / "8.png"], ["8.png"])
    Image.new("L", (4, 4), 7).save(tmp_path / "8.png")
    with pytest.raises(UsageError, match="needs images of more than 8 bits"):
        levels_of_range("data", shallow)
    (tmp_path / "12.tif").write_bytes(write_tiff(np.arange(12).reshape(3, 4), 12))
    mixed = FileImages([tmp_path / "12.tif", deep / "good/00.png"], ["12.tif", "16.png"])
    with pytest.raises(UsageError, match=r"differ in depth.*`12.tif` \(white: 4095\) and `16.png` \(white: 65535\)"):
        used_range([mixed])
    flat = FileImages([tmp_path / "flat.png"], ["flat.png"])
    Image.fromarray(np.full((4, 4), 700, np.uint16)).save(tmp_path / "flat.png")
    with pytest.raises(UsageError, match="the value 700, which is no range"):
        levels_of_range("data", flat)
    np.testing.assert_array_equal(decode_image(np.zeros((4, 4, 3), np.uint8), levels=Levels(0, 9)), 0)
