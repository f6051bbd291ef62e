"""Labelled ImageNet images, where a person has some: the data of the paper's Fisher diagonal."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.torchvision_operators import load_timm

FOLDERS = ("imagenet_sample", "imagenet", "imagenet/train")
_SYNSET = re.compile(r"n\d{8}")


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """images and their class indices 0 ... 999, labels (N,). where: the folder's name below the data root."""

    images: FileImages
    labels: np.ndarray
    where: str


def imagenet_images(root: Path) -> LabelledImages | None:
    """Return the labelled ImageNet images below the data root, or None if there are none.

    Accepted: `imagenet_sample/nXXXXXXXX_name.JPEG`, and synset folders `imagenet[/train]/nXXXXXXXX/*.JPEG`. A class
    index is the place of its synset among the 1,000 of ILSVRC 2012, in order.
    """
    for where in FOLDERS:
        folder = root / where
        if not folder.is_dir():
            continue
        labelled = [(place, synset) for place in image_files(folder) if (synset := _synset(place)) is not None]
        if labelled:
            index = {synset: number for number, synset in enumerate(_synsets())}
            known = [(place, index[synset]) for place, synset in labelled if synset in index]
            images = FileImages.below(folder, [place for place, _ in known])
            return LabelledImages(images, np.array([label for _, label in known]), where)
    return None


def missing_imagenet(root: Path) -> str | None:
    """Return None where labelled ImageNet images lie below the data root, else what to get and where to put it."""
    if any((root / where).is_dir() for where in FOLDERS):
        return None
    return (
        f"Labelled ImageNet images are not in `{root}`. Put synset folders `nXXXXXXXX/*.JPEG` of ILSVRC 2012 into "
        f"`{root / 'imagenet'}`, or the 1,000 files of https://github.com/EliSchwartz/imagenet-sample-images (110 MB) "
        f"into `{root / 'imagenet_sample'}`."
    )


def _synset(place: str) -> str | None:
    """Return the synset that starts the file's name or names its folder; place: below the listed folder."""
    *folders, name = place.split("/")
    match = _SYNSET.match(name) or (_SYNSET.fullmatch(folders[-1]) if folders else None)
    return match[0] if match else None


def _synsets() -> list[str]:

    return list(load_timm().data.ImageNetInfo("imagenet-1k").label_names())
