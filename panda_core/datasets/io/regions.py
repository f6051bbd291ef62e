"""Regions of interest in image files: read, written, and put over a set of images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from panda_core.datasets.io.mask_pixels import read_marked
from panda_core.datasets.one_class import ChangedImages, Images, OneClassTask
from panda_core.errors import DataMissing, UnreadableImage, UsageError
from panda_core.records import MARK, absolute, write_atomically
from panda_core.region import Region

NEXT = "Save a picture in the shape of the images, with what counts white and all else black"


def read_region(text: str) -> Region:
    """Return the region of "PATH" or "PATH#sha256=HEX", an image file: white counts.

    `UsageError` where it marks everything or nothing, is unclear, or is not the one whose digest is given;
    `DataMissing` where it is gone.
    """
    path, _, wanted = text.partition(MARK)
    _check_names_file(path)
    if not Path(path).is_file():
        raise DataMissing(f"There is no region of interest `{path}`. Put the file there, or set `--roi` to another.")
    try:
        region = region_of_pixels(read_marked(Path(path), path, black_and_white=True), path)
    except UnreadableImage as error:
        raise UsageError(f"{error} {NEXT}.") from error
    if wanted not in ("", region.sha256):
        raise UsageError(
            f"The region of interest in `{path}` has changed: its SHA-256 begins with {region.sha256[:12]}, not "
            f"{wanted[:12]}. Put the file back that this was computed with, or start anew."
        )
    return region


def _check_names_file(path: str) -> None:
    """Raise `UsageError` for an address or a folder: a region is one file on this machine."""
    if "://" in path:
        raise UsageError(f"The region of interest `{path}` is an address. Save the picture here and give its file.")
    if Path(path).is_dir():
        raise UsageError(f"The region of interest `{path}` is a folder. Give one picture, which counts for all images.")


def region_of_pixels(marked: np.ndarray, name: str = "roi") -> Region:
    """Return the region of pixels (H, W) that count, bool; `UsageError` where it is none."""
    if marked.ndim != 2 or marked.dtype != np.bool_:
        raise UsageError(
            f"`{name}` must be a path or a bool array of shape (H, W), True where it counts; got an array of "
            f"{marked.dtype} and shape {marked.shape}. Pass `array > 0`."
        )
    if not marked.any() or marked.all():
        told = "everything" if marked.all() and marked.size else "nothing"
        raise UsageError(f"The region of interest `{name}` marks {told}. {NEXT}, or leave `--roi` out.")
    return Region(marked)


def pinned_region(text: str) -> str:
    """Return "PATH#sha256=HEX" of a region named with or without its digest, its path absolute; "" stays ""."""
    if not text:
        return ""
    path, mark, wanted = text.partition(MARK)
    _check_names_file(path)
    region = read_region(f"{absolute(path)}{mark}{wanted}")
    return f"{absolute(path)}{MARK}{region.sha256}"


def write_region(region: Region, target: Path) -> None:
    """Write a region as a PNG of one bit a pixel."""

    def write(file: BinaryIO) -> None:
        Image.fromarray(region.marked).save(file, "PNG")

    write_atomically(target, write)


class RegionImages(ChangedImages):
    """`images`, each with what lies outside of a region painted over. One in another shape cannot be used."""

    def __init__(self, images: Images, region: Region) -> None:
        super().__init__(images)
        self.region = region

    def changed(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), painted; `UnreadableImage` for one in another shape."""
        self.region.check_fits(image, name)
        return self.region.painted(image)


def task_within(task: OneClassTask, region: Region) -> OneClassTask:
    """Return a task as whoever looks at the region alone sees it: in every image, what lies outside is painted over."""
    return dataclasses.replace(task, train=RegionImages(task.train, region), test=RegionImages(task.test, region))


def region_over(images: Images) -> Region | None:
    """Return what of images counts; None: all of it."""
    return images.region if isinstance(images, RegionImages) else None
