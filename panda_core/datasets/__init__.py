"""Datasets: one file each, one row each in `DATASETS`; `folder:PATH` is made on the spot."""

from __future__ import annotations

from pathlib import Path

from panda_core.datasets import cifar10, digits, elpv
from panda_core.datasets.decoding import IMAGE_SUFFIXES, ImageSource, decode_image
from panda_core.datasets.folder import PREFIX, folder_dataset
from panda_core.datasets.imagenet import LabelledImages, imagenet_images
from panda_core.datasets.images import ArrayImages, FileImages, image_files
from panda_core.datasets.one_class import (
    Dataset,
    Images,
    LabelledSplits,
    OneClassTask,
    balanced_subset,
    one_class_task,
    split_digest,
    stratified_split,
)
from panda_core.errors import UsageError, unknown_name

__all__ = [
    "DATASETS",
    "IMAGE_SUFFIXES",
    "ArrayImages",
    "Dataset",
    "FileImages",
    "ImageSource",
    "Images",
    "LabelledImages",
    "LabelledSplits",
    "OneClassTask",
    "balanced_subset",
    "decode_image",
    "find_class",
    "find_dataset",
    "folder_dataset",
    "image_files",
    "imagenet_images",
    "one_class_task",
    "split_digest",
    "stratified_split",
]

DATASETS: dict[str, Dataset] = {
    "digits": digits.DIGITS,
    "elpv": elpv.ELPV,
    "cifar10": cifar10.CIFAR10,
}


def find_dataset(key: str) -> Dataset:
    """Return the dataset called `key`, a key of `DATASETS` or `folder:PATH`; an unknown one raises `UsageError`."""
    if key.startswith(PREFIX):
        path = key.removeprefix(PREFIX)
        if not path.strip():
            raise UsageError(f"`{PREFIX}` must be followed by the path of a folder. Set `--dataset {PREFIX}PATH`.")
        return folder_dataset(path)
    if key not in DATASETS:
        raise unknown_name("dataset", key, [*DATASETS, f"{PREFIX}PATH"], "--dataset")
    return DATASETS[key]


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
