"""MVTec AD: a category is a class, and its folder is read as `folder:PATH` reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from panda_core.datasets import find_class, find_dataset, one_class_task
from panda_core.datasets.sets.mvtec import CATEGORIES, FOLDERS, MVTEC
from panda_core.errors import DataMissing, UsageError


def test_categories_are_the_classes(mvtec_root: Path) -> None:
    """Guards: categories that are not there offered for a run; none offered before the data is there."""
    assert MVTEC.classes(mvtec_root) == ("bottle", "zipper") and MVTEC.missing(mvtec_root) is None
    assert MVTEC.classes(mvtec_root / "nowhere") == CATEGORIES and len(CATEGORIES) == 15
    assert find_class(MVTEC, mvtec_root, "1") == "zipper"


@pytest.mark.parametrize("folder", FOLDERS)
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
