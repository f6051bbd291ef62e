"""CIFAR-100: 60,000 colour images of 32 x 32 pixels, one-class tasks over its twenty coarse classes.

The protocol is that of PANDA (Reiss et al., CVPR 2021, appendix): a coarse class, 2,500 training images of five fine
classes, against the whole official test split of 10,000.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.downloads import by_command, cifar_archive
from panda_core.datasets.io.images import ArrayImages
from panda_core.datasets.io.places import find_folder, how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.datasets.sets.cifar_pickle import read_cifar_batch
from panda_core.errors import DataMissing

# In the order of the official `coarse_label_names`.
CLASSES = (
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
)
# The coarse class of each fine label 0 ... 99, for copies without `coarse_labels`.
COARSE_OF_FINE = np.array(
    [
        "4",
        "1",
        "14",
        "8",
        "0",
        "6",
        "7",
        "7",
        "18",
        "3",
        "3",
        "14",
        "9",
        "18",
        "7",
        "11",
        "3",
        "9",
        "7",
        "11",
        "6",
        "11",
        "5",
        "10",
        "7",
        "6",
        "13",
        "15",
        "3",
        "15",
        "0",
        "11",
        "1",
        "10",
        "12",
        "14",
        "16",
        "9",
        "11",
        "5",
        "5",
        "19",
        "8",
        "8",
        "15",
        "13",
        "14",
        "17",
        "18",
        "10",
        "16",
        "4",
        "17",
        "4",
        "2",
        "0",
        "17",
        "4",
        "18",
        "17",
        "10",
        "3",
        "2",
        "12",
        "12",
        "16",
        "12",
        "1",
        "9",
        "19",
        "2",
        "10",
        "0",
        "1",
        "16",
        "12",
        "9",
        "13",
        "15",
        "13",
        "16",
        "19",
        "2",
        "4",
        "6",
        "19",
        "5",
        "5",
        "8",
        "19",
        "18",
        "1",
        "2",
        "15",
        "6",
        "0",
        "17",
        "8",
        "14",
        "13",
    ],
    dtype=np.int64,
)
FOLDERS = ("cifar-100-python", "cifar100")
WANTED = ("train", "test")
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the official split, labelled by coarse class; `seed` is not used.

    The file's `coarse_labels` are taken where it has them, else they follow from its `fine_labels`.
    """
    folder = find_folder(root, FOLDERS, WANTED)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    (train, train_labels), (test, test_labels) = (_read(folder, split) for split in WANTED)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def _read(folder: Path, split: str) -> tuple[ArrayImages, np.ndarray]:
    pixels, numbers, key = read_cifar_batch(
        folder / split, ("coarse_labels", len(CLASSES)), ("fine_labels", len(COARSE_OF_FINE))
    )
    labels = np.array(CLASSES)[numbers if key == "coarse_labels" else COARSE_OF_FINE[numbers]]
    names = [f"{split}/{label}/{row:05d}" for row, label in enumerate(labels)]
    return ArrayImages(pixels, names), labels


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "CIFAR-100",
        files="cifar-100-python.tar.gz (161 MB)",
        source=SOURCE,
        folder=root / FOLDERS[0],
        wanted=WANTED,
        rest=by_command("cifar100"),
    )


CIFAR100 = Dataset(
    key="cifar100",
    title="CIFAR-100, coarse classes",
    about=(
        "50,000 training and 10,000 test images of 32 x 32 pixels, a hundred classes in twenty groups of five. A "
        "group is the normal class: 2,500 training images; tested on the whole official test split, in which the "
        "other nineteen groups are anomalous."
    ),
    source=SOURCE,
    licence="none stated by its authors, who ask for the citation",
    citation="Krizhevsky, A. Learning Multiple Layers of Features from Tiny Images. Technical report, 2009.",
    image_size=128,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if find_folder(root, FOLDERS, WANTED) else _how_to_get(root),
    download=cifar_archive("CIFAR100"),
)
