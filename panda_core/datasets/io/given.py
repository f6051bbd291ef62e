"""Images handed over in Python: what every method that takes images accepts, and the sentence for everything else."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from panda_core.datasets.io.decoding import ImageSource, decode_image
from panda_core.datasets.io.samples import Levels
from panda_core.errors import UsageError

_ACCEPTED = "a list of images (paths, PIL images or uint8 arrays of shape (H, W, 3)), or a uint8 array (N, H, W, 3)"


def listed_images(images: object) -> Sequence[ImageSource]:
    """Return `images` as a sequence of images; `UsageError` says what was given instead, and how to give it.

    images: a list, a tuple or another sequence of paths, PIL images or uint8 arrays (H, W), (H, W, 1), (H, W, 3) or
    (H, W, 4); or one uint8 array (N, H, W, C) of so many images. One image, however it is given, is no list of images:
    its rows would be taken for images.
    """
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        kind = "the path of one" if isinstance(images, (str, os.PathLike)) else "one image"
        raise UsageError(f"`images` must be {_ACCEPTED}; got {kind}. Pass `[image]`.")
    if isinstance(images, np.ndarray):
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
    if isinstance(images, dict) or not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise UsageError(f"`images` must be {_ACCEPTED}; got {type(images).__name__}. Pass `list(images)`.")
    return images  # type: ignore[return-value]


def name_of_given(image: object, index: int) -> str:
    """Return what to call image number `index` of a list in front of a person."""
    return str(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode_given(images: Sequence[ImageSource], start: int = 0, levels: Levels | None = None) -> list[np.ndarray]:
    """Return images as uint8 arrays (H, W, 3). start: number of the first, for its name. levels: see `decode_image`.

    One that cannot be decoded raises `UnreadableImage`; one that is no image at all raises `UsageError`.
    """
    decoded = []
    for index, image in enumerate(images, start):
        if not isinstance(image, (str, bytes, os.PathLike, Image.Image, np.ndarray)):
            raise UsageError(
                f"Image {index} must be a path, a PIL image or a uint8 array; got {type(image).__name__}. Convert it."
            )
        decoded.append(decode_image(image, name_of_given(image, index), levels))
    return decoded
