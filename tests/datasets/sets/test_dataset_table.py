"""What every row of `DATASETS` must fulfil, its counts, the installed data sets, and finding by name."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import DATASETS, Dataset, Masks, find_class, find_dataset, one_class_task
from panda_core.datasets.io.counts import ClassCounts, count_images
from panda_core.datasets.sets.elpv import ELPV
from panda_core.errors import DataMissing, UnreadableImage, UsageError

# The classes of ELPV and MVTec are objects of their own, with their own test images; two data sets have one class.
ONE_TEST_SET = ("digits", "cifar10", "cifar100", "fashion_mnist", "cats_vs_dogs", "dior", "cub200", "flowers102", "wbc")


@pytest.fixture(params=DATASETS)
def dataset(request: pytest.FixtureRequest, data_root: Path) -> Dataset:
    found = DATASETS[request.param]
    assert found.missing(data_root) is None, f"no small copy of `{found.key}` for tests"
    return found


def test_train_and_test_are_disjoint_and_train_is_normal(dataset: Dataset, data_root: Path) -> None:
    """Guards: an image on both sides, an anomaly among the training images, labels of the wrong length."""
    for name in dataset.classes(data_root):
        splits = dataset.open(data_root, name, 0)
        assert splits.train_labels.shape == (len(splits.train),) and splits.test_labels.shape == (len(splits.test),)
        assert set(splits.train.names).isdisjoint(splits.test.names)
        task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
        normals = np.nonzero(splits.train_labels == splits.normal_label)[0]
        assert list(task.train.names) == [splits.train.names[row] for row in normals]
        assert set(task.is_anomaly) == {0, 1} and len(task.test) == len(splits.test)


def test_images_are_uint8_colour_and_repeatable(dataset: Dataset, data_root: Path) -> None:
    """Guards: floats or one channel that reach the network; a split that differs between two calls."""
    name = dataset.classes(data_root)[0]
    first, second = (dataset.open(data_root, name, 5) for _ in range(2))
    for half in ("train", "test"):
        images, again = getattr(first, half), getattr(second, half)
        assert list(images.names) == list(again.names)
        for row in (0, len(images) - 1):
            image = images.load(row)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
            assert images.digest(row) == again.digest(row)


@pytest.mark.parametrize("key", ONE_TEST_SET)
def test_one_test_set_for_all_normal_classes(key: str, data_root: Path) -> None:
    """Guards: the average over classes taken over different test images."""
    dataset = DATASETS[key]
    names = [dataset.open(data_root, label, 2).test.names for label in dataset.classes(data_root)]
    assert len(names) > 1 and all(names[0] == other for other in names)


def test_masks_go_with_the_test_images(dataset: Dataset, data_root: Path) -> None:
    """Guards: masks of other images after a subset was taken; a normal image with a defect marked."""
    splits = dataset.open(data_root, dataset.classes(data_root)[0], 3)
    assert (splits.test_masks is not None) == (dataset.key in ("magnetic_tiles", "mvtec"))
    for limit in (None, 5):
        task = one_class_task(splits, train_limit=None, test_limit=limit, seed=0)
        if task.masks is None or splits.test_masks is None:
            assert splits.test_masks is task.masks is None
            continue
        assert len(task.masks) == len(task.test)
        places = {name: row for row, name in enumerate(splits.test.names)}
        for row, name in enumerate(task.test.names):
            mask, whole = mask_or_none(task.masks, row), mask_or_none(splits.test_masks, places[name])
            assert (mask is None) == (whole is None)
            if mask is not None and whole is not None:
                assert mask.dtype == bool and mask.any() == task.is_anomaly[row]
                np.testing.assert_array_equal(mask, whole)


def mask_or_none(masks: Masks, row: int) -> np.ndarray | None:
    """Return a mask, or None where there is none, or, as for one tile here, one that marks nothing of a defect."""
    try:
        return masks.load(row)
    except UnreadableImage:
        return None


def test_rows_are_filled(dataset: Dataset, data_root: Path) -> None:
    """Guards: a dataset listed without licence, origin or citation, or under another key than its own."""
    assert DATASETS[dataset.key] is dataset
    for text in (dataset.title, dataset.about, dataset.source, dataset.licence, dataset.citation):
        assert text.strip() and "\n" not in text
    assert 32 <= dataset.image_size <= 320
    classes = dataset.classes(data_root / "nowhere")  # known before the data is there
    assert len(set(classes)) == len(classes) >= 1


NOTICE = {
    "digits": "scikit-learn's digits",
    "elpv": "elpv-dataset",
    "cifar10": "CIFAR-10 ",
    "cifar100": "CIFAR-100 ",
    "fashion_mnist": "Fashion-MNIST ",
    "cats_vs_dogs": "Cats and dogs (ASIRRA)",
    "dior": "DIOR ",
    "cub200": "CUB-200-2011 ",
    "flowers102": "Oxford flowers (102)",
    "wbc": "White blood cells ",
    "hyper_kvasir": "Hyper-Kvasir ",
    "magnetic_tiles": "Magnetic tiles ",
    "mvtec": "MVTec AD ",
    "textile": "conformal-clip-data",
}


def test_notice_names_every_data_set() -> None:
    """Guards: a data set added without its licence in NOTICE, or told to be free there and not in the table."""
    lines = (Path(__file__).parents[3] / "NOTICE").read_text().splitlines()
    assert set(NOTICE) == set(DATASETS)
    for key, title in NOTICE.items():
        (place,) = [place for place, line in enumerate(lines) if line.startswith(f"  {title}")]
        assert ("not for commercial use" in lines[place]) == DATASETS[key].noncommercial, key
        first_author = DATASETS[key].citation.split(",")[0]
        assert first_author in lines[place + 1], key


def test_digits_equal_scikit_learns() -> None:
    """Guards: rows and columns exchanged, values clipped, labels shifted against images."""
    from sklearn.datasets import load_digits

    reference = load_digits()
    splits = DATASETS["digits"].open(Path("/nowhere"), "8", 0)
    assert len(splits.train) + len(splits.test) == 1797
    for images, labels in ((splits.train, splits.train_labels), (splits.test, splits.test_labels)):
        for row in range(0, len(images), 40):
            kind, number = images.names[row].split("/")
            expected = reference.images[int(number)]
            assert kind == f"digit-{labels[row]}" and labels[row] == str(reference.target[int(number)])
            image = images.load(row)
            assert image.shape == (8, 8, 3) and (image == image[:, :, :1]).all()
            np.testing.assert_allclose(image[:, :, 0], expected * 255 / 16, atol=0.5)


def test_digits_split_is_seventy_thirty_by_digit_and_by_seed() -> None:
    """Guards: a digit rare in one half; one split for all seeds, which hides its luck."""
    first, second = (DATASETS["digits"].open(Path("/nowhere"), "8", seed) for seed in (0, 1))
    assert list(first.train.names) != list(second.train.names)
    for digit in "0123456789":
        count = np.sum(first.train_labels == digit), np.sum(first.test_labels == digit)
        assert abs(count[0] - 0.7 * sum(count)) <= 0.5


@pytest.mark.parametrize("kind, functional, defective", [("mono", 588, 313), ("poly", 920, 402)])
def test_elpv_counts(kind: str, functional: int, defective: int) -> None:
    """Guards: doubtful cells let in, the types mixed, probability 1 read as functional (counts: methods, section 6)."""
    splits = ELPV.open(Path("/nowhere"), kind, 0)
    assert splits.normal_label == "functional" and set(splits.train_labels) == {"functional"}
    assert len(splits.train) == round(0.7 * functional)
    assert len(splits.train) + np.sum(splits.test_labels == "functional") == functional
    assert np.sum(splits.test_labels == "defective") == defective
    image = splits.test.load(len(splits.test) - 1)
    assert image.shape == (300, 300, 3) and (image == image[:, :, :1]).all()
    assert splits.train.names[0].startswith("images/cell")
    assert list(ELPV.open(Path("/nowhere"), kind, 1).train.names) != list(splits.train.names)


@pytest.mark.skipif(importlib.util.find_spec("conformal_clip_data") is None, reason="the package is an extra")
def test_textile_counts(tmp_path: Path) -> None:
    """Guards: a folder of the package that is passed over; one split for all seeds."""
    first, second = (DATASETS["textile"].open(tmp_path, "nominal", seed) for seed in (0, 1))
    assert len(first.train) == 700 and list(first.train.names) != list(second.train.names)
    kinds, counts = np.unique(first.test_labels, return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {"nominal": 300, "local": 500, "global": 500}
    assert first.test.load(0).shape == (250, 250, 3)


def write_elpv(root: Path, *lines: str) -> None:
    (root / "elpv" / "images").mkdir(parents=True, exist_ok=True)
    (root / "elpv" / "labels.csv").write_text("\n".join(lines) + "\n")


def test_elpv_in_the_data_root_wins(tmp_path: Path) -> None:
    """Guards: the user's own copy ignored; a grade between 0 and 1 counted."""
    lines = [f"images/cell{row:04d}.png  0.0   mono" for row in range(10)]
    write_elpv(tmp_path, *lines, "images/cell0010.png 1.0 mono", "images/cell0011.png 0.3333333333333333 mono", "")
    splits = ELPV.open(tmp_path, "mono", 0)
    assert len(splits.train) == 7 and splits.test_labels.tolist() == ["functional"] * 3 + ["defective"]
    assert splits.test.names[-1] == "images/cell0010.png"


@pytest.mark.parametrize(
    "line",
    [
        "images/a.png,0.0,mono",
        "../../etc/x.png 0 mono",
        "/etc/x.png 0 mono",
        "images/../../x.png 0 mono",
        "images/a.png high mono",
        "images/a.png 0",
    ],
)
def test_elpv_refuses_other_lines(line: str, tmp_path: Path) -> None:
    """Guards: a table that leads out of the folder, or of another form, read as data."""
    write_elpv(tmp_path, "images/cell0001.png 0 mono", line)
    with pytest.raises(UsageError, match=r"Line 2 of `.*labels.csv` must be"):
        ELPV.open(tmp_path, "mono", 0)


def test_missing_packages_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: an ImportError where one sentence says what to install or where to put the data."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    remedies = {"elpv": "elpv-dataset", "digits": "scikit-learn", "textile": "conformal-clip-data"}
    for key, package in remedies.items():
        remedy = f"pip install {package}"
        assert remedy in (DATASETS[key].missing(tmp_path) or "")
        with pytest.raises(DataMissing, match=remedy):
            DATASETS[key].open(tmp_path, DATASETS[key].classes(tmp_path)[0], 0)
    assert str(tmp_path / "elpv") in (ELPV.missing(tmp_path) or "")


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    """Guards: a KeyError, or a sentence without the corrected call."""
    with pytest.raises(UsageError, match=r"Unknown dataset `cifra10`.*`digits`.*`--dataset cifar10`"):
        find_dataset("cifra10")
    with pytest.raises(UsageError, match=r"Unknown class of `cifar10` `kat`.*`--normal-class cat`"):
        find_class(DATASETS["cifar10"], tmp_path, "kat")


def test_classes_are_found_by_name_and_by_index(tmp_path: Path) -> None:
    """Guards: the digit 8 taken for the eighth entry; an index one off, negative or beyond the end accepted."""
    cifar10, digits = find_dataset("cifar10"), find_dataset("digits")
    assert find_class(cifar10, tmp_path, None) == "airplane"
    assert find_class(cifar10, tmp_path, "3") == find_class(cifar10, tmp_path, 3) == "cat"
    assert find_class(digits, tmp_path, "8") == find_class(digits, tmp_path, 8) == "8"
    for name in ("10", "-1", "1.0", "", "٣", "9" * 5000):
        with pytest.raises(UsageError, match=r"Unknown class"):
            find_class(cifar10, tmp_path, name)


def test_a_class_named_like_a_number_wins_over_an_index(tmp_path: Path) -> None:
    """Guards: folders named 9, 8, 7 whose numbers would mean each other."""
    odd = dataclasses.replace(DATASETS["digits"], classes=lambda root: ("9", "0", "x"))
    assert find_class(odd, tmp_path, "0") == "0"
    assert find_class(odd, tmp_path, "2") == "x"


@pytest.mark.parametrize("key", DATASETS)
def test_counts_are_those_of_the_tasks(key: str, data_root: Path) -> None:
    """Guards: counts of one class told for all; a split shared where each class has its own."""
    dataset = DATASETS[key]
    counts = count_images(dataset, data_root)
    assert list(counts) == list(dataset.classes(data_root))
    for name in list(counts)[:3] + list(counts)[-1:]:
        task = one_class_task(dataset.open(data_root, name, 0), train_limit=None, test_limit=None, seed=0)
        anomalous = int(np.sum(task.is_anomaly))
        assert counts[name] == ClassCounts(len(task.train), len(task.test) - anomalous, anomalous)


def test_missing_data_has_no_counts(tmp_path: Path) -> None:
    """Guards: zeros where nothing is known."""
    with pytest.raises(DataMissing):
        count_images(DATASETS["cifar100"], tmp_path)
