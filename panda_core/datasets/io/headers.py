"""What the beginning of an image file says, without its pixels: size, turn, depth, frames."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os

from panda_core.datasets.io import tiff
from panda_core.datasets.io.decoding import BYTE_CEILING, open_file, open_image, orientation, tags_of


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the beginning of an image file says: bits of a sample as they are read, and frames or pages (2: several)."""

    bits: int
    frames: int


def facts_of(path: str | os.PathLike[str], name: str) -> Facts:
    """Return the facts of an image file; only its beginning is read, where the format has them there."""
    with open_file(path, name) as file:
        head = file.read(26)
        file.seek(0)
        if head.startswith(tiff.STARTS):
            tags = tags_of(file, name)
            return Facts(max(tags.bits), tags.frames)
        with open_image(file, name) as image:
            deep = image.mode.startswith("I") or (image.format == "PNG" and head[24] > 8)
            return Facts(16 if deep else 8, min(2, getattr(image, "n_frames", 1)))


def stored_size(source: str | os.PathLike[str] | bytes, name: str) -> tuple[tuple[int, int], int]:
    """Return ((width, height) as stored, EXIF orientation 1 to 8) of an image file; its pixels are not decoded."""
    with contextlib.nullcontext(io.BytesIO(source)) if isinstance(source, bytes) else open_file(source, name) as file:
        start = file.read(8)
        file.seek(0)
        if start.startswith(tiff.STARTS):
            tags = tags_of(file, name)
            return (tags.width, tags.height), tags.orientation
        with open_image(file, name) as image:
            size = image.size
            if image.format == "PNG":  # for want of an EXIF block Pillow decodes the pixels: it may lie behind them
                file.seek(0)
                content = file.read(BYTE_CEILING)
                if not any(word in content for word in (b"eXIf", b"exif", b"rientation")):
                    return size, 1
                image = open_image(io.BytesIO(content), name)
            return size, orientation(image)
