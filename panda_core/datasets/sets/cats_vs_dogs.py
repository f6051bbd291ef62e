"""Cats and dogs (ASIRRA): 25,000 photographs of all sizes, as Kaggle or as Microsoft hands them out.

PANDA's protocol: of each class the first 10,000 images are for training and the last 2,500 for testing. First means
by number: sorted as text, 10000 would come before 2. The number itself decides here (0 ... 9999 for training), so a
copy from which broken files were removed is split alike. Papers that draw 80/20 at random are not comparable.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.places import how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, UsageError

CLASSES = ("cat", "dog")
TRAIN_NUMBERS = 10_000  # of each class
# Folders below the data root, and the form of a file's place in them.
KAGGLE, MICROSOFT = re.compile(r"(cat|dog)\.(\d{1,6})\.jpg"), re.compile(r"(Cat|Dog)/(\d{1,6})\.jpg")
FOLDERS = {
    "cats_vs_dogs/train": KAGGLE,
    "dogs-vs-cats/train": KAGGLE,
    "cats_vs_dogs/PetImages": MICROSOFT,
    "PetImages": MICROSOFT,
}
SOURCE = "https://www.microsoft.com/en-us/download/details.aspx?id=54765"
KAGGLE_SOURCE = "https://www.kaggle.com/c/dogs-vs-cats/data"


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the images numbered below 10,000 for training and the others for testing; `seed` is not used.

    A few of Microsoft's files cannot be read. They stay in their split, to be skipped and counted when decoded.
    """
    folder = _folder(root)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    images = _numbered(folder, FOLDERS[str(folder.relative_to(root).as_posix())])
    halves = [
        [(place, label) for label, number, place in images if (number < TRAIN_NUMBERS) == is_train]
        for is_train in (True, False)
    ]
    for half, what in zip(halves, (f"below {TRAIN_NUMBERS}", f"{TRAIN_NUMBERS} and above"), strict=True):
        absent = [label for label in CLASSES if label not in {found for _, found in half}]
        if absent:
            raise UsageError(
                f"`{folder}` has no {absent[0]} numbered {what}, so it is not the set of 25,000 that the protocol "
                f"splits by number (one with 4,000 + 1,000 images of each class is about, too). {_how_to_get(root)}"
            )
    train, test = (FileImages.below(folder, [place for place, _ in half]) for half in halves)
    train_labels, test_labels = (np.array([label for _, label in half]) for half in halves)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def _folder(root: Path) -> Path | None:
    for name, form in FOLDERS.items():
        folder = root / name
        if folder.is_dir() and (form is KAGGLE or all((folder / part).is_dir() for part in ("Cat", "Dog"))):
            return folder
    return None


def _numbered(folder: Path, form: re.Pattern[str]) -> list[tuple[str, int, str]]:
    """Return (label, number, place) of each image, cats first, each class by number; other files are left out."""
    matches = [match for place in image_files(folder) if (match := form.fullmatch(place))]
    return sorted((match[1].lower(), int(match[2]), match[0]) for match in matches)


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "The set of cats and dogs",
        files="kagglecatsanddogs_5340.zip (787 MB)",
        source=SOURCE,
        folder=root / "cats_vs_dogs",
        wanted=("PetImages/Cat", "PetImages/Dog"),
        rest=f"Or fetch train.zip (544 MB) from {KAGGLE_SOURCE} and unpack it there as `train/cat.0.jpg` and so on.",
    )


CATS_VS_DOGS = Dataset(
    key="cats_vs_dogs",
    title="Cats and dogs (ASIRRA)",
    about=(
        "Photographs of pets, 12,500 cats and 12,500 dogs of all sizes. Of each class those numbered 0 to 9999 are for "
        "training, the last 2,500 for testing. A few files of Microsoft's copy cannot be read; they are skipped and "
        "named."
    ),
    source=SOURCE,
    licence="non-commercial research only (terms of Microsoft Research and of the Kaggle competition)",
    citation=(
        "Elson, J., Douceur, J. R., Howell, J. & Saul, J. Asirra: A CAPTCHA that Exploits Interest-Aligned Manual "
        "Image Categorization. ACM CCS 2007."
    ),
    image_size=224,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if _folder(root) else _how_to_get(root),
    noncommercial=True,
)
