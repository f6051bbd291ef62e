"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels, ten kinds of clothing, from the four official IDX files.

An IDX file is a header of big-endian 32-bit numbers (a magic number that says how many dimensions follow, and their
lengths) and then the bytes of the array (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from panda_core.datasets.io.downloads import by_command, torchvision_download
from panda_core.datasets.io.images import ArrayImages
from panda_core.datasets.io.places import how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, UsageError

# In the order of the official labels 0 ... 9; "t-shirt_top" is "T-shirt/top" there.
CLASSES = (
    "t-shirt_top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle_boot",
)
FILES = {
    split: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    for split, stem in (("train", "train"), ("test", "t10k"))
}
FOLDERS = ("FashionMNIST/raw", "fashion_mnist", "fashion-mnist/data/fashion")  # torchvision's, ours, the repository's
SOURCE = "https://github.com/zalandoresearch/fashion-mnist"
SIDE = 28
UNSIGNED_BYTES = 0x0800  # of the magic number; its last byte is the number of dimensions
LARGEST_FILE = 200_000_000  # bytes, unpacked; the largest official one has 47 MB


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the official split; `seed` is not used. Images keep their 28 x 28 pixels."""
    folder = _folder(root)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    (train, train_labels), (test, test_labels) = (_read(folder, split) for split in FILES)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def _folder(root: Path) -> Path | None:
    """Return the first folder that holds all four files, each as published or unpacked."""
    names = [name for pair in FILES.values() for name in pair]
    folders = (root / folder for folder in FOLDERS)
    return next((folder for folder in folders if all(_file(folder, name) for name in names)), None)


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _read(folder: Path, split: str) -> tuple[ArrayImages, np.ndarray]:
    images_name, labels_name = FILES[split]
    pixels, numbers = _read_idx(folder, images_name, 3), _read_idx(folder, labels_name, 1)
    if pixels.shape != (len(numbers), SIDE, SIDE) or not np.isin(numbers, range(len(CLASSES))).all():
        shape = " x ".join(map(str, pixels.shape))
        raise UsageError(
            f"`{folder}` must hold {SIDE} x {SIDE} images with a label from 0 to {len(CLASSES) - 1} each; "
            f"`{images_name}` has {shape} values and `{labels_name}` {len(numbers)} labels. Fetch both again from "
            f"{SOURCE}."
        )
    labels = np.array(CLASSES)[numbers]
    return ArrayImages(pixels, [f"{split}/{label}/{row:05d}" for row, label in enumerate(labels)]), labels


def _read_idx(folder: Path, name: str, dimensions: int) -> np.ndarray:
    """Return the uint8 array of an IDX file with so many dimensions."""
    path = _file(folder, name) or folder / name
    start = 4 + 4 * dimensions
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(LARGEST_FILE)  # whatever a file unpacks to, no more than that enters memory
    except (OSError, EOFError, zlib.error) as error:
        raise _refused(path, f"it cannot be unpacked ({error})") from error
    if len(content) < start:
        raise _refused(path, f"it has {len(content)} bytes, fewer than its header")
    magic, *shape = (int(number) for number in np.frombuffer(content[:start], ">u4"))
    if magic != UNSIGNED_BYTES + dimensions:
        raise _refused(path, f"it begins with {magic:#010x} instead of {UNSIGNED_BYTES + dimensions:#010x}")
    if math.prod(shape) != len(content) - start:
        raise _refused(path, f"its header promises {math.prod(shape)} values, and {len(content) - start} follow")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _refused(path: Path, reason: str) -> UsageError:
    return UsageError(f"`{path}` is no IDX file of Fashion-MNIST: {reason}. Fetch it again from {SOURCE}.")


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "Fashion-MNIST",
        files="the four files of `data/fashion` (31 MB)",
        source=SOURCE,
        folder=root / FOLDERS[1],
        wanted=[f"{name}.gz" for pair in FILES.values() for name in pair],
        rest=by_command("fashion_mnist"),
        then="",
    )


FASHION_MNIST = Dataset(
    key="fashion_mnist",
    title="Fashion-MNIST",
    about=(
        "Grey photographs of clothing, 28 x 28 pixels, ten classes: 6,000 training images of each, and 10,000 test "
        "images; the official split."
    ),
    source=SOURCE,
    licence="MIT",
    citation=(
        "Xiao, H., Rasul, K. & Vollgraf, R. Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
        "Algorithms. 2017. arXiv:1708.07747"
    ),
    image_size=96,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if _folder(root) else _how_to_get(root),
    download=torchvision_download("FashionMNIST"),
)
