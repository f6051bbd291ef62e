"""Cats and dogs: split by number, in both forms in which they are handed out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from panda_core.datasets.sets.cats_vs_dogs import CATS_VS_DOGS
from panda_core.errors import DataMissing, UnreadableImage, UsageError

Publish = Callable[[str], Path]
Write = Callable[..., None]


def test_numbers_decide_not_their_text(publish: Publish) -> None:
    """Guards: order as text, in which 10000 precedes 2 and lands in the training set."""
    splits = CATS_VS_DOGS.open(publish("cats_vs_dogs"), "cat", 0)
    assert list(splits.train.names) == [f"{kind}.{row}.jpg" for kind in ("cat", "dog") for row in (0, 2, 10, 9999)]
    assert list(splits.test.names) == [f"{kind}.{row}.jpg" for kind in ("cat", "dog") for row in (10000, 12499)]
    assert splits.train_labels.tolist() == ["cat"] * 4 + ["dog"] * 4
    assert splits.test_labels.tolist() == ["cat"] * 2 + ["dog"] * 2


def test_microsofts_folders(tmp_path: Path, write_images: Write) -> None:
    """Guards: capitals in class names; a broken file that stops the whole set; other files counted as images."""
    folder = tmp_path / "PetImages"
    write_images(folder, *(f"{kind}/{row}.jpg" for kind in ("Cat", "Dog") for row in (1, 9, 666, 9999, 10000, 12499)))
    (folder / "Cat" / "666.jpg").write_bytes(b"")
    (folder / "Cat" / "Thumbs.db").write_bytes(b"x")
    write_images(folder, "Dog/extra.jpg")
    splits = CATS_VS_DOGS.open(tmp_path, "cat", 0)
    assert list(splits.train.names[:4]) == ["Cat/1.jpg", "Cat/9.jpg", "Cat/666.jpg", "Cat/9999.jpg"]
    assert splits.train_labels.tolist() == ["cat"] * 4 + ["dog"] * 4 and len(splits.test) == 4
    with pytest.raises(UnreadableImage, match=r"Cat/666\.jpg"):  # skipped and named by the loop
        splits.train.load(2)
    (folder / "Cat" / "666.jpg").unlink()  # as many guides advise
    assert list(CATS_VS_DOGS.open(tmp_path, "cat", 0).test.names) == list(splits.test.names)


def test_the_small_variant_is_refused(tmp_path: Path, write_images: Write) -> None:
    """Guards: the set of 4,000 + 1,000 tested on nothing, or split as if it were the published one."""
    write_images(
        tmp_path / "cats_vs_dogs" / "train", *(f"{kind}.{row}.jpg" for kind in ("cat", "dog") for row in (1, 4000))
    )
    with pytest.raises(UsageError, match=r"has no cat numbered 10000 and above.*4,000 \+ 1,000.*kagglecatsanddogs"):
        CATS_VS_DOGS.open(tmp_path, "cat", 0)


def test_missing_data_is_described(tmp_path: Path) -> None:
    """Guards: a sentence without place, names, sizes and folder."""
    with pytest.raises(DataMissing) as caught:
        CATS_VS_DOGS.open(tmp_path, "cat", 0)
    for part in (
        "kagglecatsanddogs_5340.zip (787 MB)",
        "microsoft.com",
        "train.zip (544 MB)",
        "kaggle.com",
        str(tmp_path),
    ):
        assert part in str(caught.value)
    assert CATS_VS_DOGS.noncommercial
