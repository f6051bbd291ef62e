"""Data sets of defects with masks: MVTec AD, read as `folder:PATH` is, and magnetic tiles, by the published split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import DATASETS, find_class, find_dataset, one_class_task
from panda_core.datasets.sets.magnetic_tiles import FOLDERS, MAGNETIC_TILES, NAMES_FILE
from panda_core.datasets.sets.mvtec import CATEGORIES, MVTEC
from panda_core.datasets.sets.mvtec import FOLDERS as MVTEC_FOLDERS
from panda_core.errors import DataMissing, UnreadableImage, UsageError


def test_categories_are_the_classes(mvtec_root: Path) -> None:
    """Guards: categories that are not there offered for a run; none offered before the data is there."""
    assert MVTEC.classes(mvtec_root) == ("bottle", "zipper") and MVTEC.missing(mvtec_root) is None
    assert MVTEC.classes(mvtec_root / "nowhere") == CATEGORIES and len(CATEGORIES) == 15
    assert find_class(MVTEC, mvtec_root, "1") == "zipper"


@pytest.mark.parametrize("folder", MVTEC_FOLDERS)
def test_a_category_is_read_with_its_masks(folder: str, mvtec_root: Path) -> None:
    """Guards: masks scored as images, good images marked, the same images for every category."""
    if folder != "mvtec":
        (mvtec_root / "mvtec").rename(mvtec_root / folder)
    splits = MVTEC.open(mvtec_root, "bottle", 0)
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert (len(task.train), task.is_anomaly.tolist()) == (4, [1, 1, 1, 0, 0, 0])
    assert splits.test_labels.tolist() == ["broken_large"] * 3 + ["good"] * 3
    assert task.masks is not None
    for row, anomalous in enumerate(task.is_anomaly):
        mask = task.masks.load(row)
        assert mask is not None and mask.any() == anomalous
        if anomalous:  # the fixture marks row n of image n
            assert mask.shape == (6, 5) and mask[row].all() and mask.sum() == 5
    folders = [Path(MVTEC.open(mvtec_root, name, 0).train.paths[0]).parts[-4] for name in ("bottle", "zipper")]  # type: ignore[attr-defined]
    assert folders == ["bottle", "zipper"]


def test_missing_data_is_described(mvtec_root: Path) -> None:
    """Guards: a sentence without address and place; a category that is not there read as an empty one."""
    said = MVTEC.missing(mvtec_root / "nowhere") or ""
    assert MVTEC.source in said and str(mvtec_root / "nowhere" / "mvtec" / "bottle" / "train" / "good") in said
    with pytest.raises(DataMissing, match=r"category `cable` of MVTec AD is not .*mvtec/cable/train/good"):
        MVTEC.open(mvtec_root, "cable", 0)
    with pytest.raises(UsageError, match="Unknown class of `mvtec` `cable`"):
        find_class(find_dataset("mvtec"), mvtec_root, "cable")


ANOMALIES = ["blowhole", "break", "crack", "fray", "uneven"]


def test_split_by_the_seed(tiles_root: Path) -> None:
    """Guards: defective tiles trained on, masks counted as images, a split that ignores the seed or rounds up."""
    splits = MAGNETIC_TILES.open(tiles_root, "free", 0)
    assert len(splits.train) == 9  # 80 % of 12 is 9.6; 80 % of 952 must give DifferNet's 761
    assert set(splits.train_labels) == {"free"}
    assert splits.test_labels.tolist() == ["free"] * 3 + [kind for kind in ANOMALIES for _ in range(2)]
    for label, name in zip(splits.test_labels, splits.test.names, strict=True):
        assert name.startswith(f"MT_{label.capitalize()}/Imgs/exp") and name.endswith(".jpg")
    image = splits.test.load(0)
    assert image.shape[0] == 20 and (image == image[:, :, :1]).all()
    others = {tuple(MAGNETIC_TILES.open(tiles_root, "free", seed).train.names) for seed in range(6)}
    assert len(others) > 1 and tuple(splits.train.names) in others


def test_masks_are_cut_and_empty_ones_are_unknown(tiles_root: Path) -> None:
    """Guards: the soft rim counted as defect; the unmarked uneven tile measured as if it were clean."""
    splits = MAGNETIC_TILES.open(tiles_root, "free", 0)
    assert splits.test_masks is not None and len(splits.test_masks) == len(splits.test)
    for row, (name, label) in enumerate(zip(splits.test.names, splits.test_labels, strict=True)):
        if name == "MT_Uneven/Imgs/exp2_num_501.jpg":
            with pytest.raises(UnreadableImage, match="black all over"):
                splits.test_masks.load(row)
            continue
        mask = splits.test_masks.load(row)
        assert mask is not None
        if label == "free":
            assert not mask.any()
        else:
            assert mask.shape == splits.test.load(row).shape[:2]
            assert mask[2:6, 4:12].all() and mask.sum() == 4 * 8


def test_a_tile_without_its_mask_is_unknown(tiles_root: Path) -> None:
    """Guards: a mask that was not copied, found out in the middle of a run."""
    (tiles_root / "magnetic_tiles/MT_Crack/Imgs/exp1_num_300.png").unlink()
    splits = MAGNETIC_TILES.open(tiles_root, "free", 0)
    assert splits.test_masks is not None
    assert splits.test_masks.load(list(splits.test.names).index("MT_Crack/Imgs/exp1_num_300.jpg")) is None


@pytest.mark.parametrize("inside", ["magnetic_tiles", "."])
@pytest.mark.parametrize("form", ["{}.jpg", "{}", "MT_Free/Imgs/{}.jpg", "MT_Free\\Imgs\\{}.jpg\r", " {}.png \n"])
def test_the_published_names_decide(form: str, inside: str, tiles_root: Path) -> None:
    """Guards: a split of our own over DifferNet's; its lines refused because of an ending or a folder."""
    names = [f"exp{row % 6 + 1}_num_{row}" for row in (3, 0, 9)]
    (tiles_root / inside / NAMES_FILE).write_text("\n".join(form.format(name) for name in names) + "\n\n")
    for seed in (0, 1):
        splits = MAGNETIC_TILES.open(tiles_root, "free", seed)
        assert {Path(name).stem for name in splits.train.names} == set(names)
        assert np.sum(splits.test_labels == "free") == 9


def test_a_name_that_is_no_free_tile_is_refused(tiles_root: Path) -> None:
    """Guards: a defective tile, or one that is not there, left out of the training set in silence."""
    (tiles_root / "magnetic_tiles" / NAMES_FILE).write_text("exp1_num_0.jpg\nexp1_num_100.jpg\n")
    with pytest.raises(UsageError, match=r"Line 2 of `.*mtd_train_filenames.txt` must be .*; got `exp1_num_100.jpg`"):
        MAGNETIC_TILES.open(tiles_root, "free", 0)


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_by_their_published_names(name: str, tiles_root: Path) -> None:
    """Guards: data that has to be renamed after unpacking."""
    (tiles_root / "magnetic_tiles").rename(tiles_root / name)
    assert MAGNETIC_TILES.missing(tiles_root) is None
    assert len(MAGNETIC_TILES.open(tiles_root, "free", 0).test) == 13


def test_missing_tiles_are_described(tiles_root: Path) -> None:
    """Guards: half of the data taken for all of it; a sentence without address, names and place."""
    assert MAGNETIC_TILES.classes(tiles_root / "nowhere") == ("free",)
    (tiles_root / "magnetic_tiles/MT_Fray").rename(tiles_root / "Fray")
    said = MAGNETIC_TILES.missing(tiles_root) or ""
    for part in (MAGNETIC_TILES.source, "`MT_Free`", "`Imgs`", ".png", str(tiles_root / "magnetic_tiles"), NAMES_FILE):
        assert part in said
    with pytest.raises(DataMissing, match="magnetic tiles are not on this machine"):
        MAGNETIC_TILES.open(tiles_root, "free", 0)


def test_real_counts(real_data: Path) -> None:
    """Guards: a rounding that differs from DifferNet's 761; masks that do not fit (counts: methods, section 6)."""
    if MAGNETIC_TILES.missing(real_data):
        pytest.skip("the magnetic tiles are not among the real data")
    splits = DATASETS["magnetic_tiles"].open(real_data, "free", 0)
    assert (len(splits.train), len(splits.test)) == (761, 583)
    labels, counts = np.unique(splits.test_labels, return_counts=True)
    known = {"blowhole": 115, "break": 85, "crack": 57, "fray": 32, "free": 191, "uneven": 103}
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == known
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert task.masks is not None and task.is_anomaly.sum() == 392
    masks = [task.masks.load(row) for row in np.nonzero(task.is_anomaly)[0]]
    assert sum(mask is None for mask in masks) == 4
    for row, mask in zip(np.nonzero(task.is_anomaly)[0][::40], masks[::40], strict=True):
        assert mask is None or mask.shape == task.test.load(row).shape[:2]
