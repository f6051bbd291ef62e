"""Birds, flowers, cats and dogs: which species are normal in turn, and how images are split."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import one_class_task
from panda_core.datasets.sets.cats_vs_dogs import CATS_VS_DOGS
from panda_core.datasets.sets.cub200 import CUB200
from panda_core.datasets.sets.flowers102 import FLOWERS102, SPECIES
from panda_core.errors import DataMissing, UnreadableImage, UsageError

Publish = Callable[[str], Path]
BIRDS, FLOWERS = "CUB_200_2011", "flowers-102"


@pytest.mark.parametrize(("dataset", "in_train", "in_test"), [(CUB200, 2, 1), (FLOWERS102, 2, 4)])
def test_the_first_twenty_against_all(dataset, in_train: int, in_test: int, publish: Publish) -> None:  # type: ignore
    """Guards: a normal class beyond the twentieth; species beyond it left out of the test set."""
    root = publish(dataset.key)
    assert len(dataset.classes(root)) == 20
    for name in dataset.classes(root):
        task = one_class_task(dataset.open(root, name, 0), train_limit=None, test_limit=None, seed=0)
        assert len(task.train) == in_train and len(task.test) == 22 * in_test
        assert np.sum(task.is_anomaly == 0) == in_test
        assert task.kinds is not None and set(task.kinds[task.is_anomaly == 0]) == {name}


def test_birds_by_their_three_tables(publish: Publish) -> None:
    """Guards: 1 read as test; a table joined by its lines instead of by its numbers."""
    root = publish("cub200")
    folder = root / BIRDS
    lines = (folder / "train_test_split.txt").read_text().splitlines()
    (folder / "train_test_split.txt").write_text("\n".join(reversed(lines)) + "\n")
    splits = CUB200.open(root, "Bobolink", 0)
    assert splits.train.names[0] == "001.Black_footed_Albatross/Black_footed_Albatross_0000_0.jpg"
    assert splits.test.names[0].endswith("_0002_2.jpg") and splits.test_labels[12] == "Bobolink"
    assert splits.test_labels[-1] == "Common_Yellowthroat"
    assert splits.test.load(12).shape == (6, 5, 3)


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("images.txt", "1 ../../../etc/passwd.jpg", "Line 1 of .*images.txt` must be the number"),
        ("images.txt", "1 /etc/passwd.jpg", "Line 1 of .*images.txt` must be the number"),
        ("images.txt", "one 001.A/b.jpg", "Line 1 of .*images.txt` must be the number"),
        ("images.txt", "1 007.Parakeet_Auklet/x.jpg", "must name the species of an image alike"),
        ("train_test_split.txt", "9999 1", "train_test_split.txt` must list the images of"),
    ],
)
def test_tables_of_another_form_are_refused(name: str, line: str, reason: str, publish: Publish) -> None:
    """Guards: a table that leads out of the folder; tables of two different copies joined."""
    root = publish("cub200")
    path = root / BIRDS / name
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))
    with pytest.raises(UsageError, match=reason):
        CUB200.open(root, "Bobolink", 0)


def test_flowers_are_numbered_from_one(publish: Publish) -> None:
    """Guards: labels one off against images; validation images left out of the test set, or trained on."""
    splits = FLOWERS102.open(publish("flowers102"), "pink primrose", 0)
    assert list(splits.train.names[:3]) == ["image_00001.jpg", "image_00002.jpg", "image_00007.jpg"]
    assert splits.train_labels[:3].tolist() == ["pink primrose"] * 2 + ["hard-leaved pocket orchid"]
    assert splits.test.names[0] == "image_00003.jpg" and splits.test.names[22] == "image_00004.jpg"
    assert splits.test_labels[-1] == SPECIES[101] == "blackberry lily"
    assert len(SPECIES) == len(set(SPECIES)) == 102
    assert splits.test.load(0).shape == (6, 5, 3)


def test_species_are_named_as_by_torchvision() -> None:
    """Guards: a name left out of the hundred and two, which shifts all later ones."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    source = (Path(spec.origin).parent / "datasets" / "flowers102.py").read_text()  # importing it would take seconds
    (names,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "classes"
    ]
    assert [name.rstrip("?") for name in names] == list(SPECIES)


def save(path: Path, **fields: list[int]) -> None:
    from scipy.io import savemat

    savemat(path, {name: np.array([values]) for name, values in fields.items()})


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"trnid": [3, 4, 5], "valid": [2], "tstid": [1]}, "they are exchanged; officially"),
        ({"trnid": [1], "valid": [1], "tstid": [2, 3]}, "lists an image in two of its parts"),
        ({"trnid": [1], "valid": [2], "tstid": [133]}, "`tstid` must be whole numbers from 1 to 132"),
        ({"trnid": [0], "valid": [2], "tstid": [3]}, "`trnid` must be whole numbers"),
        ({"trnid": [1], "valid": [2]}, "it has no entry `tstid`"),
    ],
)
def test_other_parts_are_refused(parts: dict[str, list[int]], reason: str, publish: Publish) -> None:
    """Guards: a copy with `trnid` and `tstid` exchanged, which trains on six times as much; images tested twice."""
    root = publish("flowers102")
    save(root / FLOWERS / "setid.mat", **parts)
    with pytest.raises(UsageError, match=rf"setid\.mat` .*{reason}.*robots\.ox"):
        FLOWERS102.open(root, "pink primrose", 0)


def test_what_is_no_matlab_file_ends_in_one_sentence(publish: Publish) -> None:
    """Guards: a damaged download that ends in a traceback."""
    root = publish("flowers102")
    for content in (b"", b"not a matrix", b"\x00" * 400):
        (root / FLOWERS / "imagelabels.mat").write_bytes(content)
        with pytest.raises(UsageError, match=r"imagelabels\.mat` cannot be used: "):
            FLOWERS102.open(root, "pink primrose", 0)


def test_missing_data_is_described(tmp_path: Path) -> None:
    """Guards: a sentence without place, names, sizes and folder."""
    with pytest.raises(DataMissing, match=r"CUB_200_2011\.tgz \(1\.2 GB\) from https://www\.vision\.caltech\.edu"):
        CUB200.open(tmp_path, "Bobolink", 0)
    wanted = r"102flowers\.tgz \(345 MB\), imagelabels\.mat and setid\.mat .*robots\.ox.*--download flowers102"
    with pytest.raises(DataMissing, match=wanted):
        FLOWERS102.open(tmp_path, "pink primrose", 0)
    assert CUB200.noncommercial


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


def test_missing_cats_and_dogs_are_described(tmp_path: Path) -> None:
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
