"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, installed with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import ArrayImages
from panda_core.datasets.io.packages import package_folders
from panda_core.datasets.one_class import Dataset, LabelledSplits, stratified_split
from panda_core.errors import DataMissing

CLASSES = tuple("0123456789")
TRAIN_FRACTION = 0.7
NOT_INSTALLED = "scikit-learn's digits are not on this machine: install them with `pip install scikit-learn`."
BRIGHTEST = 16  # each value counts the ink in a 4 x 4 block of the original bitmap


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return 70 % of each digit for training and the rest for testing, chosen by `seed`; `root` is not used.

    The split depends on the seed alone, so all ten normal classes of one seed share one test set. Images keep
    their 8 x 8 pixels, 0..16 spread over 0..255; resizing belongs to the preprocessing.
    """
    file = _file()
    if file is None:
        raise DataMissing(NOT_INSTALLED)
    table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # (1797, 65): pixels row by row, then the digit
    pixels = np.rint(table[:, :64] * (255 / BRIGHTEST)).astype(np.uint8).reshape(-1, 8, 8)
    labels = table[:, 64].astype(str)
    images = ArrayImages(pixels, [f"digit-{label}/{row:04d}" for row, label in enumerate(labels)])
    train, test = stratified_split(labels, TRAIN_FRACTION, seed)
    return LabelledSplits(images.subset(train), labels[train], images.subset(test), labels[test], normal_class)


def _file() -> Path | None:
    """Return the file that `sklearn.datasets.load_digits` reads.

    It is read here without that function, whose import takes over a second: a first run would feel it.
    """
    files = [place / "datasets" / "data" / "digits.csv.gz" for place in package_folders("sklearn")]
    return next(filter(Path.is_file, files), None)


DIGITS = Dataset(
    key="digits",
    title="Handwritten digits",
    about=(
        "1,797 grey images of 8 x 8 pixels, ten classes. No split is published (they are the test part of the "
        "original collection): 70 % of each digit, chosen by the seed, are for training."
    ),
    source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits (copied in scikit-learn)",
    licence="CC BY 4.0",
    citation=(
        "Alpaydin, E. & Kaynak, C. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998. "
        "doi:10.24432/C50P49"
    ),
    image_size=96,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if _file() else NOT_INSTALLED,
)
