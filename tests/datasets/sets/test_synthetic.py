"""Synthetic defects: exact masks, the same bytes every time, and clean images left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from panda_core.datasets import ArrayImages, find_dataset, one_class_task, split_digest
from panda_core.datasets.sets.defects import FAINTEST, KINDS, SHARE, draw_defect
from panda_core.datasets.sets.synthetic import SyntheticImages, SyntheticMasks
from panda_core.errors import DataMissing, UnreadableImage, UsageError

Write = Callable[..., None]


def grounds(count: int, side: int = 48, colour: int = 3) -> ArrayImages:
    """Return normal images: noise around a level of their own, grey or coloured."""
    rng = np.random.default_rng(7)
    arrays = [
        rng.integers(level, level + 30, (side, side + 9, colour), dtype=np.uint8) for level in range(40, 40 + count)
    ]
    return ArrayImages([np.repeat(array, 3 // colour, axis=2) for array in arrays], [f"n{row}" for row in range(count)])


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    level=st.integers(0, 255),
    spread=st.sampled_from([0, 30]),
    kind=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 10_000),
)
@example(height=1, width=1, level=0, spread=0, kind="cut-paste", seed=0)
@example(height=8, width=8, level=255, spread=0, kind="scratch", seed=0)
def test_the_mask_is_what_changed(height: int, width: int, level: int, spread: int, kind: str, seed: int) -> None:
    """Guards: a pixel changed outside of the mask or unchanged inside; an empty mask; a defect of any size; colour."""
    rng = np.random.default_rng(seed)
    grey = np.clip(level + rng.integers(-spread, spread + 1, (height, width, 1)), 0, 255).astype(np.uint8)
    image = np.repeat(grey, 3, axis=2)
    before = image.copy()
    drawn, mask = draw_defect(image, kind, rng, image[::-1, ::-1])
    np.testing.assert_array_equal(image, before)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape and mask.shape == (height, width)
    change = np.abs(drawn.astype(int) - image).max(axis=2)
    assert mask.any() and (change[mask] > FAINTEST).all() and not change[~mask].any()
    assert (drawn == drawn[:, :, :1]).all()
    if kind == "scratch":
        assert mask.sum() <= max(SHARE[1] * mask.size, min(height, width))
    else:
        assert SHARE[0] * mask.size <= mask.sum() <= max(SHARE[1] * mask.size, 1)


def test_each_kind_looks_as_it_is_called() -> None:
    """Guards: kinds exchanged, or all drawn by what steps in when a drawing fails."""
    image = np.full((200, 200, 3), 100, dtype=np.uint8)
    image[:, 100:] = 160
    for seed in range(8):
        drawn, masks = {}, {}
        for kind in KINDS:
            drawn[kind], masks[kind] = draw_defect(image, kind, np.random.default_rng(seed), image)
        kept = {kind: cv2.erode(mask.astype(np.uint8), np.ones((7, 7))).any() for kind, mask in masks.items()}
        assert not kept["scratch"] and kept["blob"]  # nowhere as wide as 7 pixels
        box = [np.ptp(part) + 1 for part in np.nonzero(masks["blob"])]
        assert masks["blob"].sum() < 0.9 * box[0] * box[1]  # an ellipse fills 79 % of an upright box
        assert len(np.unique(drawn["blob"][masks["blob"]])) > 10  # soft
        assert len(np.unique(drawn["cut-paste"][masks["cut-paste"]])) <= 2  # nothing but the image's own two levels


def test_clean_images_and_then_each_with_a_defect() -> None:
    """Guards: a clean image changed, a defect drawn into another image than its name says, kinds of unequal number."""
    clean = grounds(8)
    images = SyntheticImages.of(clean, seed=0)
    masks = SyntheticMasks(images)
    assert len(images) == len(masks) == 16
    assert images.kinds == [""] * 8 + ["cut-paste", "texture", "scratch", "blob"] * 2
    for row in range(8):
        np.testing.assert_array_equal(images.load(row), clean.load(row))
        assert not masks.load(row).any() and images.digest(row) == clean.digest(row)
        assert images.names[8 + row] == f"n{row} + {images.kinds[8 + row]}"
        changed = (images.load(8 + row) != clean.load(row)).any(axis=2)
        np.testing.assert_array_equal(masks.load(8 + row), changed)
        assert changed.any() and not changed.all()


def test_the_same_bytes_every_time() -> None:
    """Guards: an image and a mask from two different drawings; defects that depend on who asks, or in what order."""
    whole, again = (SyntheticImages.of(grounds(6), seed=3) for _ in range(2))
    first = [whole.load(row) for row in range(12)]
    part = again.subset([11, 7, 2]).subset(np.array([1, 0]))
    part_masks = SyntheticMasks(again).subset([11, 7, 2]).subset([1, 0])
    for row, place in enumerate((7, 11)):
        np.testing.assert_array_equal(part.load(row), first[place])
        np.testing.assert_array_equal(part_masks.load(row), whole.with_mask(place)[1])
        assert part.digest(row) == whole.digest(place) and part.names[row] == whole.names[place]
    for row in reversed(range(12)):
        np.testing.assert_array_equal(again.load(row), first[row])


def test_seeds_and_contents_differ() -> None:
    """Guards: one defect for all seeds or all images; features cached for one drawing taken for another's."""
    images = [SyntheticImages.of(grounds(8), seed=seed) for seed in (0, 1)]
    for row in range(8, 16):
        assert (images[0].load(row) != images[1].load(row)).any()
        assert images[0].digest(row) != images[1].digest(row)
    assert len({images[0].digest(row) for row in range(16)}) == 16
    same = [images[0].with_mask(row)[1] for row in (8, 12)]  # two cut-pastes
    assert (same[0] != same[1]).any()
    # The texture of n1 comes from another image: its digest must follow that one's content.
    other = SyntheticImages.of(grounds(8, colour=1), seed=0)
    assert other.digest(9) != images[0].digest(9)


def test_texture_digest_follows_its_donor() -> None:
    """Guards: features cached before the image that the texture came from was replaced."""
    arrays = [np.full((40, 40, 3), level, dtype=np.uint8) for level in (50, 90)]
    digests = set()
    for level in (90, 200):
        arrays[0] = np.full((40, 40, 3), level, dtype=np.uint8)
        digests.add(SyntheticImages.of(ArrayImages(arrays, ["donor", "b"]), seed=0).digest(3))
    assert len(digests) == 2


def test_an_unreadable_image_stays_to_be_counted(tmp_path: Path, write_images: Write) -> None:
    """Guards: one bad file that stops a whole set, also where it was only to lend its texture."""
    write_images(
        tmp_path, *(f"train/good/{row}.png" for row in range(4)), *(f"test/good/{row}.png" for row in range(2))
    )
    (tmp_path / "test/good/0.png").write_bytes(b"broken")
    splits = find_dataset(f"synthetic:folder:{tmp_path}").open(tmp_path, "good", 0)
    assert splits.test.names == ("test/good/0.png", "test/good/1.png", *splits.test.names[2:])
    for row in (0, 2):
        with pytest.raises(UnreadableImage, match=r"test/good/0\.png"):
            splits.test.load(row)
    assert splits.test_labels[3] == "texture" and splits.test.load(3).shape == (6, 5, 3)
    assert len(split_digest(splits.test)) == 64


@pytest.mark.parametrize("inner, name", [("digits", "8"), ("magnetic_tiles", "free"), ("mvtec", "zipper")])
def test_the_task_of_another_dataset(inner: str, name: str, data_root: Path) -> None:
    """Guards: anomalies of the inner data set kept; training images scored; masks that come apart from their images."""
    splits = find_dataset(inner).open(data_root, name, 1)
    made = find_dataset(f"synthetic:{inner}").open(data_root, name, 1)
    normals = [splits.train.names[row] for row in np.nonzero(splits.train_labels == splits.normal_label)[0]]
    tests = [splits.test.names[row] for row in np.nonzero(splits.test_labels == splits.normal_label)[0]]
    assert list(made.train.names) == normals and list(made.test.names[: len(tests)]) == tests
    task = one_class_task(made, train_limit=None, test_limit=7, seed=0)
    assert task.masks is not None and len(task.masks) == len(task.test) == min(7, 2 * len(tests))
    for row in range(len(task.test)):
        mask = task.masks.load(row)
        assert mask is not None and mask.any() == task.is_anomaly[row] == (" + " in task.test.names[row])


def test_normals_are_held_out_where_the_test_set_has_none(tmp_path: Path, write_images: Write) -> None:
    """Guards: an empty test set, or one of training images; a class called like a kind of defect counted as normal."""
    write_images(tmp_path, *(f"train/scratch/{row}.png" for row in range(10)), "test/dent/1.png")
    dataset = find_dataset(f"synthetic:folder:{tmp_path}")
    splits = dataset.open(tmp_path, "scratch", 0)
    assert (len(splits.train), len(splits.test)) == (7, 6)
    assert set(splits.train.names).isdisjoint(splits.test.names) and "test/dent/1.png" not in splits.test.names
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert task.is_anomaly.tolist() == [0] * 3 + [1] * 3
    assert list(dataset.open(tmp_path, "scratch", 1).train.names) != list(splits.train.names)


def test_images_of_sizes_of_their_own(tmp_path: Path) -> None:
    """Guards: texture of one size laid over an image of another; a mask that does not fit its image."""
    for row, size in enumerate([(30, 40), (64, 20), (25, 25), (90, 33), (40, 40), (21, 50)]):
        place = tmp_path / f"{row}.png"
        Image.fromarray(np.random.default_rng(row).integers(0, 255, (*size, 3), dtype=np.uint8)).save(place)
    splits = find_dataset(f"synthetic:folder:{tmp_path}").open(tmp_path, "normal", 0)
    assert splits.test_masks is not None
    for row in np.nonzero(splits.test_labels != "normal")[0]:
        mask = splits.test_masks.load(row)
        assert mask is not None and mask.shape == splits.test.load(row).shape[:2]


def test_keys_and_sentences(tmp_path: Path) -> None:
    """Guards: an unknown inner name without the corrected call; what is said of the inner data set lost."""
    made, inner = find_dataset("synthetic:elpv"), find_dataset("elpv")
    assert made.key == "synthetic:elpv" and made.licence == inner.licence and made.image_size == inner.image_size
    assert made.classes(tmp_path) == inner.classes(tmp_path)
    tiles = find_dataset("synthetic:magnetic_tiles")
    assert tiles.missing(tmp_path) == find_dataset("magnetic_tiles").missing(tmp_path) is not None
    with pytest.raises(DataMissing):
        tiles.open(tmp_path, "free", 0)
    with pytest.raises(UsageError, match=r"Unknown dataset `synthetic:digit`.*`--dataset synthetic:digits`"):
        find_dataset("synthetic:digit")
    for key in ("synthetic:", "synthetic:synthetic:digits"):
        with pytest.raises(UsageError, match="Unknown dataset `synthetic:"):
            find_dataset(key)
    with pytest.raises(UsageError, match="--dataset folder:PATH"):
        find_dataset("synthetic:folder:")
