"""Birds (CUB-200-2011): 11,788 photographs of 200 species; one-class tasks over the first twenty species.

PANDA's protocol: one of the species 1 to 20 is normal, and its about 30 training images are tested against the whole
official test split of 5,794. About half a per cent of it is normal, so one AUROC alone is noisy: average over species.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.places import find_folder, how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, UsageError

# The names of the folders of species 1 to 20 without their numbers.
CLASSES = (
    "Black_footed_Albatross",
    "Laysan_Albatross",
    "Sooty_Albatross",
    "Groove_billed_Ani",
    "Crested_Auklet",
    "Least_Auklet",
    "Parakeet_Auklet",
    "Rhinoceros_Auklet",
    "Brewer_Blackbird",
    "Red_winged_Blackbird",
    "Rusty_Blackbird",
    "Yellow_headed_Blackbird",
    "Bobolink",
    "Indigo_Bunting",
    "Lazuli_Bunting",
    "Painted_Bunting",
    "Cardinal",
    "Spotted_Catbird",
    "Gray_Catbird",
    "Yellow_breasted_Chat",
)
IMAGES, SPLIT, LABELS = "images.txt", "train_test_split.txt", "image_class_labels.txt"
WANTED = ("images", IMAGES, SPLIT, LABELS)
FOLDERS = ("CUB_200_2011", "cub200", "cub200/CUB_200_2011")
SOURCE = "https://www.vision.caltech.edu/datasets/cub_200_2011/"


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the official split (`train_test_split.txt`: 1 is training); `seed` is not used."""
    folder = find_folder(root, FOLDERS, WANTED)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    places, species, is_train = (_table(folder / name) for name in (IMAGES, LABELS, SPLIT))
    for name, table in ((LABELS, species), (SPLIT, is_train)):
        if set(table) != set(places):
            raise UsageError(
                f"`{folder / name}` must list the images of `{IMAGES}`. Unpack the official archive again."
            )
    halves = [[number for number in places if is_train[number] == wanted] for wanted in ("1", "0")]
    names = {number: _name(folder, places[number], species[number]) for number in places}
    train, test = (FileImages.below(folder / "images", [places[number] for number in half]) for half in halves)
    train_labels, test_labels = (np.array([names[number] for number in half], dtype=str) for half in halves)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def _table(path: Path) -> dict[str, str]:
    """Return what a file says of each image: lines of its number and a word, `12 001.Black_footed_Albatross/x.jpg`."""
    said: dict[str, str] = {}
    for place, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        number, _, word = line.strip().partition(" ")
        if not line.strip():
            continue
        parts = PurePosixPath(word).parts
        if not (number.isdecimal() and word) or parts[0] == "/" or ".." in parts:
            raise UsageError(
                f"Line {place} of `{path}` must be the number of an image and one word; got `{line[:80]}`. Unpack the "
                "official archive again."
            )
        said[number] = word
    return said


def _name(folder: Path, place: str, species: str) -> str:
    """Return the name of a species, from a place like `001.Black_footed_Albatross/Black_Footed_Albatross_0046.jpg`."""
    number, _, name = place.split("/")[0].partition(".")
    if not (number.isdecimal() and species.isdecimal() and int(number) == int(species) and name):
        raise UsageError(
            f"`{folder}` must name the species of an image alike in `{IMAGES}` and `{LABELS}`; got `{place}` and "
            f"`{species}`. Unpack the official archive again."
        )
    return name


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "CUB-200-2011",
        files="CUB_200_2011.tgz (1.2 GB)",
        source=SOURCE,
        folder=root / FOLDERS[0],
        wanted=WANTED,
    )


CUB200 = Dataset(
    key="cub200",
    title="Birds (CUB-200-2011)",
    about=(
        "Photographs of 200 species of birds, 5,994 for training and 5,794 for testing; the official split. Only the "
        "first twenty species are taken as normal, about 30 training images each; all 200 are tested, so about one "
        "test image in 200 is normal, and a single AUROC is noisy."
    ),
    source=SOURCE,
    licence="non-commercial research and education only; the photographs belong to their owners",
    citation=(
        "Wah, C., Branson, S., Welinder, P., Perona, P. & Belongie, S. The Caltech-UCSD Birds-200-2011 Dataset. "
        "Technical report CNS-TR-2011-001, California Institute of Technology, 2011."
    ),
    image_size=224,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if find_folder(root, FOLDERS, WANTED) else _how_to_get(root),
    noncommercial=True,
)
