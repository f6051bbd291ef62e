"""Datasets: one file each, one row each in `DATASETS`; `folder:PATH` and `synthetic:KEY` are made on the spot."""

from __future__ import annotations

from pathlib import Path

from panda_core.datasets.io.decoding import ImageSource, decode_image
from panda_core.datasets.io.images import ArrayImages, FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.masks import FileMasks, Masks
from panda_core.datasets.io.opening import IMAGE_SUFFIXES
from panda_core.datasets.io.samples import Levels
from panda_core.datasets.one_class import (
    Dataset,
    Images,
    LabelledSplits,
    OneClassTask,
    balanced_subset,
    digests,
    one_class_task,
    split_digest,
    stratified_split,
)
from panda_core.datasets.own.folder import PREFIX, folder_dataset
from panda_core.datasets.own.outliers import outlier_images
from panda_core.datasets.sets import (
    cats_vs_dogs,
    cifar10,
    cifar100,
    cub200,
    digits,
    dior,
    elpv,
    fashion_mnist,
    flowers102,
    hyper_kvasir,
    magnetic_tiles,
    mvtec,
    textile,
    wbc,
)
from panda_core.datasets.sets.imagenet import LabelledImages, imagenet_images
from panda_core.datasets.sets.synthetic import PREFIX as SYNTHETIC
from panda_core.datasets.sets.synthetic import synthetic_dataset
from panda_core.errors import UsageError, unknown_name
from panda_core.records import absolute

__all__ = [
    "DATASETS",
    "IMAGE_SUFFIXES",
    "ArrayImages",
    "Dataset",
    "FileImages",
    "FileMasks",
    "ImageSource",
    "Images",
    "LabelledImages",
    "LabelledSplits",
    "Masks",
    "OneClassTask",
    "absolute_key",
    "balanced_subset",
    "decode_image",
    "digests",
    "find_class",
    "find_dataset",
    "folder_dataset",
    "image_files",
    "imagenet_images",
    "one_class_task",
    "outlier_images",
    "split_digest",
    "stratified_split",
    "synthetic_dataset",
]

DATASETS: dict[str, Dataset] = {
    "digits": digits.DIGITS,
    "elpv": elpv.ELPV,
    "cifar10": cifar10.CIFAR10,
    "cifar100": cifar100.CIFAR100,
    "fashion_mnist": fashion_mnist.FASHION_MNIST,
    "cats_vs_dogs": cats_vs_dogs.CATS_VS_DOGS,
    "dior": dior.DIOR,
    "cub200": cub200.CUB200,
    "flowers102": flowers102.FLOWERS102,
    "wbc": wbc.WBC,
    "hyper_kvasir": hyper_kvasir.HYPER_KVASIR,
    "magnetic_tiles": magnetic_tiles.MAGNETIC_TILES,
    "mvtec": mvtec.MVTEC,
    "textile": textile.TEXTILE,
}


def find_dataset(key: str, levels: Levels | None = None) -> Dataset:
    """Return the dataset called `key`: a key of `DATASETS`, `folder:PATH`, or `synthetic:` and one of these.

    levels: what is black and white in images of more than 8 bits of a folder; None for their whole range. An unknown
    key raises `UsageError`.
    """
    if key.startswith(SYNTHETIC):
        inner = key.removeprefix(SYNTHETIC)
        if not inner.startswith(PREFIX) and inner not in DATASETS:
            known = [*(f"{SYNTHETIC}{name}" for name in DATASETS), f"{SYNTHETIC}{PREFIX}PATH"]
            raise unknown_name("dataset", key, known, "--dataset")
        return synthetic_dataset(find_dataset(inner, levels))
    if key.startswith(PREFIX):
        path = key.removeprefix(PREFIX)
        if not path.strip():
            raise UsageError(f"`{PREFIX}` must be followed by the path of a folder. Set `--dataset {PREFIX}PATH`.")
        return folder_dataset(path, levels)
    if key not in DATASETS:
        raise unknown_name("dataset", key, [*DATASETS, f"{PREFIX}PATH", f"{SYNTHETIC}KEY"], "--dataset")
    return DATASETS[key]


def absolute_key(key: str) -> str:
    """Return a dataset's key that means the same from any folder: the path of `folder:PATH` made absolute."""
    if key.startswith(SYNTHETIC):
        return SYNTHETIC + absolute_key(key.removeprefix(SYNTHETIC))
    path = key.removeprefix(PREFIX)
    return f"{PREFIX}{absolute(path)}" if key.startswith(PREFIX) and path.strip() else key


def find_class(dataset: Dataset, root: Path, name: str | int | None) -> str:
    """Return the class of `dataset` that `name` means: its name, else its index from 0; None means the first class.

    A name wins over an index: "8" is the digit 8 also where the classes are listed in another order.
    """
    classes = dataset.classes(root)
    if name is None:
        return classes[0]
    text = str(name)
    if text in classes:
        return text
    if text in map(str, range(len(classes))):
        return classes[int(text)]
    raise unknown_name(f"class of `{dataset.key}`", text, classes, "--normal-class")
