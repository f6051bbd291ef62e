"""CIFAR-10: 60,000 colour images of 32 x 32 pixels, ten classes, from the official pickles or from class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.downloads import by_command, cifar_archive
from panda_core.datasets.io.images import ArrayImages, FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.datasets.sets.cifar_pickle import read_cifar_batch
from panda_core.errors import DataMissing, UsageError

# In alphabetical order, which is the order of the official labels 0..9.
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PICKLES = "cifar-10-batches-py"
FOLDERS = "cifar10_images"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the official split (methods: train on one class, test on the whole test split); `seed` is not used.

    The official pickles are taken where both forms are there: published figures were measured on them.
    """
    reason = missing(root)
    if reason:
        raise DataMissing(reason)
    read = _read_pickles if (root / PICKLES).is_dir() else _read_folders
    (train, train_labels), (test, test_labels) = read(root)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def missing(root: Path) -> str | None:
    """Return None if either form of the data is below `root`, else what to get and where to put it."""
    pickles, folders = root / PICKLES, root / FOLDERS
    if pickles.is_dir():
        absent = [name for name in TRAIN_BATCHES + TEST_BATCHES if not (pickles / name).is_file()]
        what = f"`{pickles}` lacks {', '.join(absent)}"
    else:
        absent = [name for name in ("train", "test") if not (folders / name).is_dir()]
        what = f"`{folders}` lacks {' and '.join(absent)}" if folders.is_dir() else f"CIFAR-10 is not in `{root}`"
    if not absent:
        return None
    return (
        f"{what}: fetch cifar-10-python.tar.gz (163 MB) from https://www.cs.toronto.edu/~kriz/cifar.html and unpack "
        f"it so that `{pickles / 'data_batch_1'}` exists, or put class folders at "
        f"`{folders / 'train' / 'airplane'}/*.jpg` (all ten classes, `train` and `test`). {by_command('cifar10')}"
    )


def _read_pickles(root: Path) -> list[tuple[ArrayImages, np.ndarray]]:
    halves = []
    for split, batches in (("train", TRAIN_BATCHES), ("test", TEST_BATCHES)):
        parts = [read_cifar_batch(root / PICKLES / name, ("labels", len(CLASSES))) for name in batches]
        labels = np.array(CLASSES)[np.concatenate([numbers for _, numbers, _ in parts])]
        images = [image for pixels, *_ in parts for image in pixels]  # views of (N, 32, 32, 3)
        names = [f"{split}/{label}/{row:05d}" for row, label in enumerate(labels)]
        halves.append((ArrayImages(images, names), labels))
    return halves


def _read_folders(root: Path) -> list[tuple[FileImages, np.ndarray]]:
    halves = []
    for split in ("train", "test"):
        folder = root / FOLDERS / split
        places = image_files(folder)
        labels = np.array([place.split("/")[0] for place in places], dtype=str)
        unknown = sorted(set(labels) - set(CLASSES))
        if unknown or not places:
            what = f"`{unknown[0]}` is none of them" if unknown else "there are no images"
            raise UsageError(
                f"`{folder}` must hold images in folders named {', '.join(CLASSES)}; {what}. Correct the folder, or "
                "remove it and use the official pickles."
            )
        halves.append((FileImages.below(root / FOLDERS, [f"{split}/{place}" for place in places]), labels))
    return halves


CIFAR10 = Dataset(
    key="cifar10",
    title="CIFAR-10",
    about=(
        "50,000 training and 10,000 test images of 32 x 32 pixels, ten classes of animals and vehicles; the official "
        "split. Read from the official pickles, or from class folders, whose images may have been re-encoded: say "
        "which was used beside a figure."
    ),
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated by its authors, who ask for the citation",
    citation="Krizhevsky, A. Learning Multiple Layers of Features from Tiny Images. Technical report, 2009.",
    image_size=128,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=missing,
    download=cifar_archive("CIFAR10"),
)
