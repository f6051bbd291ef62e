"""White blood cells (Dataset 1 of segmentation_WBC): 300 photographs of single cells, four kinds of them.

PANDA's protocol: of each kind 80 %, rounded down, for training, which gives its 62 test images (rounded to nearest
they would be 60). Which images is unpublished, so the seed decides here: report mean and deviation over seeds. The
one basophil is left out. The nuclei that are drawn beside the images are not defects, and are not used.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.places import find_folder, how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, UsageError

CLASSES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil")  # labels 1 to 4
BASOPHIL = 5
IMAGES, LABELS = "Dataset 1", "Class Labels of Dataset 1.csv"
WANTED = (IMAGES, LABELS)
FOLDERS = ("wbc", "segmentation_WBC-master", "segmentation_WBC")  # the last two as GitHub calls them
SOURCE = "https://github.com/zxaoyou/segmentation_WBC"


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return 80 % of each kind, rounded down and chosen by `seed`, for training, and the rest for testing.

    The split depends on the seed alone, so all four normal classes of one seed share one test set.
    """
    folder = find_folder(root, FOLDERS, WANTED)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    cells = _read_labels(folder / LABELS)
    labels = np.array(CLASSES)[[label - 1 for _, label in cells]]
    in_train = _drawn(labels, seed)
    train, test = (
        FileImages.below(folder / IMAGES, [f"{cells[row][0]:03d}.bmp" for row in np.nonzero(half)[0]])
        for half in (in_train, ~in_train)
    )
    return LabelledSplits(train, labels[in_train], test, labels[~in_train], normal_class)


def _read_labels(path: Path) -> list[tuple[int, int]]:
    """Return (number of the image, label 1 to 4) of each line but the header's and the basophil's."""
    cells = []
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = list(csv.reader(file))
    for place, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 2 or not all(cell.strip().isdecimal() for cell in row) or not 1 <= int(row[1]) <= BASOPHIL:
            raise UsageError(
                f"Line {place} of `{path}` must be the number of an image and its label from 1 to {BASOPHIL}; got "
                f"`{','.join(row)[:80]}`. Replace the file by the published one."
            )
        cells.append((int(row[0]), int(row[1])))
    return [cell for cell in cells if cell[1] != BASOPHIL]


def _drawn(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return which images are for training, as bool (N,): of each label four fifths, rounded down; labels: (N,)."""
    rng = np.random.default_rng(seed)
    in_train = np.zeros(len(labels), dtype=bool)
    for label in CLASSES:
        rows = rng.permutation(np.nonzero(labels == label)[0])
        in_train[rows[: len(rows) * 4 // 5]] = True
    return in_train


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "The set of white blood cells",
        files="the repository (about 20 MB; of it only what belongs to Dataset 1 is used)",
        source=SOURCE,
        folder=root / FOLDERS[0],
        wanted=WANTED,
        then="",
    )


WBC = Dataset(
    key="wbc",
    title="White blood cells (WBC)",
    about=(
        "Colour photographs of single white blood cells, 88 to 120 pixels wide: 176 neutrophils, 53 lymphocytes, 48 "
        "monocytes and 22 eosinophils; the one basophil is left out. No split is published: four fifths of each kind, "
        "chosen by the seed, are for training (140, 42, 38 and 17), 62 images for testing. That is very few; report "
        "several seeds."
    ),
    source=SOURCE,
    licence="GPL-3.0",
    citation=(
        "Zheng, X., Wang, Y., Wang, G. & Liu, J. Fast and Robust Segmentation of White Blood Cell Images by "
        "Self-supervised Learning. Micron 107, 2018. doi:10.1016/j.micron.2018.01.010"
    ),
    image_size=128,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if find_folder(root, FOLDERS, WANTED) else _how_to_get(root),
)
