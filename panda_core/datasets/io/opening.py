"""Opening an image file: which formats, by content, and with nothing said on the way."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".gif", ".avif", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm"),
)
FORMATS_TOLD = "PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, JPEG 2000 or PPM"

# `warnings.catch_warnings` swaps process-wide filters, so two threads must not be inside it at once.
_opening = threading.Lock()


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keep the remarks of decoders on odd metadata from the user; sizes are checked elsewhere."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
