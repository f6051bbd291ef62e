"""Images handed over in Python: what every method that takes images accepts, and the sentence for everything else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from panda_core.config import RunConfig
from panda_core.datasets import FileImages
from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.io.ranges import DATA, levels_of_range
from panda_core.datasets.io.regions import pinned_region, read_region, region_of_pixels
from panda_core.datasets.io.samples import Levels
from panda_core.errors import UsageError
from panda_core.region import Region
from panda_core.runs.settings import RANGE
from panda_core.segmentation.tiles import TileGrid

GIVEN_REGION = "(array)"  # the `roi` of a detector whose region was handed over in Python
_ACCEPTED = "a list of images (paths, PIL images or uint8 arrays of shape (H, W, 3)), or a uint8 array (N, H, W, 3)"
_TENSOR = "Leave `ToTensor` out: the detector prepares images itself."


class GivenImages(Protocol):
    """Images with a length and a number each: a list, an array, a `torch.utils.data.Dataset`.

    An item is an image, or a tuple whose first entry is one; what follows, labels for instance, is not looked at.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def listed_images(images: Any) -> GivenImages:
    """Return `images` as a sequence of images; `UsageError` says what was given instead, and how to give it.

    images: a list, a tuple, a Dataset or another sequence of paths, PIL images or uint8 arrays (H, W), (H, W, 1),
    (H, W, 3) or (H, W, 4); one uint8 array (N, H, W, C) of so many images; an array or a pandas series of paths. One
    image, however it is given, is no list of images: its rows would be taken for images.
    """
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        raise UsageError(f"`images` must be {_ACCEPTED}; got {_told_of_one(images)}")
    if isinstance(images, np.ndarray):
        return _of_array(images)
    table = isinstance(images, dict) or hasattr(images, "columns")
    if table or not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise UsageError(f"`images` must be {_ACCEPTED}; got {type(images).__name__}. Pass `list(images)`.")
    if hasattr(images, "iloc"):  # a pandas series: `series[3]` is what is labelled 3, wherever it stands
        return list(images)
    return images


def _told_of_one(image: Any) -> str:
    """Return what one image or path is, that was given for a list, and what to do."""
    if not isinstance(image, (str, os.PathLike)):
        return "one image. Pass `[image]`."
    # Unlike pathlib, these raise for no name that is too long, and take no empty one for the current folder.
    if os.path.isdir(image):  # noqa: PTH112
        return f"the folder `{image!s}`, which `fit` alone takes. Pass the paths of its images."
    if not os.path.exists(image):  # noqa: PTH110
        return f"`{image!s}`, where there is no file and no folder. Check the path."
    return "the path of one. Pass `[image]`."


def _of_array(images: np.ndarray) -> GivenImages:
    if images.ndim == 1 and images.dtype.kind in "UO":
        return list(images.tolist())
    if images.ndim in (2, 3):
        raise UsageError(
            f"`images` must be {_ACCEPTED}; got one array of shape {images.shape}. Pass `[image]`, or grey images "
            "as an array (N, H, W, 1)."
        )
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3, 4):
        raise UsageError(
            f"`images` must be {_ACCEPTED}; got an array of {images.dtype} and shape {images.shape}. "
            "Convert it to uint8, channels last."
        )
    return list(images)


def image_of(item: Any) -> Any:
    """Return the image of an item: the item itself, or the first entry of a tuple."""
    return item[0] if isinstance(item, tuple) and item else item


def labels_of(y: object, count: int) -> np.ndarray:
    """Return labels as bool (count,), whether each image is anomalous; `UsageError` for what holds no 0 and 1."""
    labels = np.asarray(y)
    if labels.shape != (count,) or not np.isin(labels, (0, 1)).all():
        shown = f"shape {labels.shape}" if labels.shape != (count,) else f"the labels {np.unique(labels).tolist()}"
        raise UsageError(
            f"`y` must hold 0 (normal) or 1 (anomalous) for each of {count} images; got {shown}. "
            "In `fit`, leave it out where all are normal."
        )
    return labels.astype(bool)


def name_of_given(image: object, index: int) -> str:
    """Return what to call image number `index` of a list in front of a person."""
    return str(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode_given(
    images: GivenImages,
    rows: range | None = None,
    levels: Levels | None = None,
    region: Region | None = None,
    grid: TileGrid | None = None,
) -> list[np.ndarray]:
    """Return images as uint8 arrays (H, W, 3). rows: which of them, else all. levels: see `decode_image`.

    region: what of them counts; the rest is painted over. grid: how they are cut into tiles. One that cannot be
    decoded, or is not in the shape of either, raises `UnreadableImage`; what is no image at all raises `UsageError`.
    """
    decoded = []
    for index in range(len(images)) if rows is None else rows:  # not every Dataset can be iterated or sliced
        image = image_of(images[index])
        if not isinstance(image, (str, bytes, os.PathLike, Image.Image, np.ndarray)):
            kind = type(image).__name__
            raise UsageError(
                f"Image {index} must be a path, a PIL image or a uint8 array; got {kind}. "
                f"{_TENSOR if kind == 'Tensor' else 'Convert it.'}"
            )
        name = name_of_given(image, index)
        pixels = decode_image(image, name, levels)
        if grid is not None:
            grid.check_fits(pixels.shape, name)
        if region is not None:
            region.check_fits(pixels, name)
            pixels = region.painted(pixels)
        decoded.append(pixels)
    return decoded


def in_known_range(config: RunConfig, given: Sequence[Any], names: Sequence[str]) -> RunConfig:
    """Return the config with its `range` in numbers; `data` needs image files."""
    if config.set.get(RANGE) != DATA:
        return config
    if config.roi:
        raise UsageError(
            "`range=data` looks at whole images, and `roi` says that a part of them counts. Give LOW-HIGH."
        )
    paths = [image for image in given if isinstance(image, (str, os.PathLike))]
    if len(paths) != len(given):
        raise UsageError("`range=data` needs paths of image files; got images of another kind. Give LOW-HIGH.")
    return config.replace(set={**config.set, RANGE: str(levels_of_range(DATA, FileImages(paths, names)))})


def region_given(roi: str | os.PathLike[str] | np.ndarray | None) -> Region | None:
    """Return the region of interest of an image file or a bool array (H, W); `UsageError` for what is none."""
    if isinstance(roi, np.ndarray):
        return region_of_pixels(roi)
    return read_region(pinned_region(os.fspath(roi))) if roi else None


def named_region(roi: str | os.PathLike[str] | np.ndarray | None) -> str:
    """Return what stands for it in a config and in text: an array is as long as it is large."""
    return GIVEN_REGION if isinstance(roi, np.ndarray) else os.fspath(roi or "")
