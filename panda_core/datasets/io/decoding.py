"""The one place where an image file becomes pixels: uint8 (H, W, 3), RGB, upright.

Rules, so that the same picture gives the same array in whatever form it arrives:

- The content decides the format, not the name; `FORMATS` are those that Pillow reads in its own wheel, without another
  library or program. SVG, PDF, PSD and their like are refused: every further decoder is a way in for a hostile file.
- At most `PIXEL_CEILING` pixels and `BYTE_CEILING` bytes, both checked before anything is decoded.
- The EXIF orientation is applied. A damaged EXIF block counts as absent.
- Grey and 1-bit give three equal channels. 9 to 16 bits become 8 by keeping the highest 8, so white becomes 255 and
  brightness stays comparable between images (no stretching image by image). `levels` choose other values for black and
  white, the same ones for all images of a data set; 8-bit images are then refused. Signed, real and 32-bit samples
  have no agreed white: without `levels` they are refused.
- Transparency, palettes' too, is laid over white. CMYK is converted without its colour profile.
- Of several frames or pages (animated PNG, WebP, AVIF and GIF, TIFF) the first counts; of an open PIL image the frame
  it stands at.
- A damaged or truncated image is refused, never filled up with grey. What follows the end of an image is not read.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from panda_core.datasets.io import tiff
from panda_core.datasets.io.opening import FORMATS, FORMATS_TOLD, without_warnings
from panda_core.datasets.io.other_formats import told_by_ending
from panda_core.datasets.io.samples import Levels, Samples
from panda_core.errors import UnreadableImage, UsageError

PIXEL_CEILING = 25_000_000
# The largest image allowed, uncompressed, with transparency and 16 bits a sample. The app's server takes files as large
# (`maxUploadSize`), so that an upload field promises what is read.
BYTE_CEILING = 8 * PIXEL_CEILING

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")


def decode_image(source: ImageSource, name: str = "", levels: Levels | None = None) -> np.ndarray:
    """Return `source` as uint8 (H, W, 3), RGB; `UnreadableImage`, with `name` and the reason, where that fails.

    source: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or
    (H, W, 4), channels in RGB(A) order; an array of another kind is the caller's mistake and raises `UsageError`.
    levels: the sample values that become 0 and 255, for images of more than 8 bits; None for their whole range. An
    array is taken as it is.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "the array")
    name = name or name_of(source)
    stored = open_stored(source, name, deep=levels is not None)
    try:
        if isinstance(stored, Samples):
            return _rgb(_eight_bits(stored, name, levels))
        if levels is not None:
            raise _too_shallow(name)
        return _rgb(upright(stored))
    except UnreadableImage:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def name_of(source: ImageSource) -> str:
    """Return what to call a source in front of a person, where the caller has no name for it."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "filename", "") or "the image")


def unreadable(name: str, reason: str) -> UnreadableImage:
    """Return the error that says why `name` is not read."""
    return UnreadableImage(f"`{name}` cannot be read: {reason}.")


def open_stored(source: ImageSource, name: str, deep: bool = True) -> Samples | Image.Image:
    """Return an image as it is stored: samples of more than 8 bits, not yet turned, or a loaded PIL image.

    Ceilings and formats are those of `decode_image`; damage raises `UnreadableImage`. deep: whether all bits are
    wanted of a 16-bit PNG with colours or alpha; Pillow gives the highest 8, faster.
    """
    if isinstance(source, (str, os.PathLike)):
        return _from_bytes(_read(source, name), name, deep)
    if isinstance(source, bytes):
        return _from_bytes(source, name, deep)
    if isinstance(source, Image.Image):
        if isinstance(source, TiffImagePlugin.TiffImageFile) and not _pillow_is_right(source):
            raise unreadable(name, "Pillow does not read its kind of samples; hand over its path or its bytes")
        return _from_pil(source, name)
    raise UsageError(
        f"An image must be a path, bytes, a PIL image or a uint8 array (H, W, 3); got {type(source).__name__}."
    )


def _too_shallow(name: str) -> UnreadableImage:
    return unreadable(name, "8 bits a sample are read of it, and `range` is for more; leave `--set range=` out")


def _damaged(name: str, error: Exception) -> UnreadableImage:
    return unreadable(name, f"it is damaged or cut off ({error})")


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str], name: str) -> Iterator[BinaryIO]:
    """Yield the open file; what keeps it from being opened or read is told with `name`."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # reading a named pipe would wait for ever
            raise unreadable(name, "it is not a file")
        _check_bytes(status.st_size, name)
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise unreadable(name, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the path
        raise unreadable(name, str(error)) from error


def _read(path: str | os.PathLike[str], name: str) -> bytes:
    with open_file(path, name) as file:
        return file.read(BYTE_CEILING + 1)  # a file that grows meanwhile is caught by the next check


def _check_bytes(count: int, name: str) -> None:
    if count == 0:
        raise unreadable(name, "the file is empty")
    if count > BYTE_CEILING:
        raise unreadable(name, f"it has more than {BYTE_CEILING // 1_000_000} MB; save it smaller")


def _check_pixels(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise unreadable(name, "it has no pixels")
    if width * height > PIXEL_CEILING:
        allowed = PIXEL_CEILING // 1_000_000
        raise unreadable(name, f"it has {width} x {height} pixels, more than {allowed} million; save it smaller")


def _from_bytes(content: bytes, name: str, deep: bool) -> Samples | Image.Image:
    _check_bytes(len(content), name)
    if content.startswith(tiff.STARTS):
        return _from_tiff(content, name)
    with open_image(io.BytesIO(content), name) as image:
        if deep and image.format == "PNG" and content[24] == 16 and image.mode in ("RGB", "RGBA", "LA"):
            _check_pixels(*image.size, name)
            return _deep_png(content, image, name)
        return _from_pil(image, name)


def open_image(file: BinaryIO, name: str) -> Image.Image:
    """Return the image in an open file: its size is known and checked, its pixels are not yet decoded."""
    try:
        with without_warnings():
            image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise unreadable(name, f"more than {PIXEL_CEILING // 1_000_000} million pixels; save it smaller") from error
    except Exception as error:  # a damaged header raises whatever the decoder stumbled over
        told = told_by_ending(name) or f"it is not a {FORMATS_TOLD} image, or its beginning is damaged"
        raise unreadable(name, told) from error
    return image


def _from_tiff(content: bytes, name: str) -> Samples | Image.Image:
    def refuse(reason: str) -> UnreadableImage:
        return unreadable(name, reason)

    tags = tags_of(io.BytesIO(content), name)
    _check_pixels(tags.width, tags.height, name)
    if tags.pillow_is_right:
        with open_image(io.BytesIO(content), name) as image:
            return _from_pil(image, name)
    try:
        return tiff.read_samples(content, tags, refuse)
    except UnreadableImage:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def tags_of(file: BinaryIO, name: str) -> tiff.Tags:
    """Return the tags of an open TIFF file; `UnreadableImage` where its beginning is damaged."""
    try:
        return tiff.read_tags(file)
    except Exception as error:
        raise unreadable(name, f"it is not a {FORMATS_TOLD} image, or its beginning is damaged") from error


def _deep_png(content: bytes, image: Image.Image, name: str) -> Samples:
    """Return the 16-bit samples of a PNG with colours or alpha, which Pillow would cut to 8."""
    image.load()  # Pillow checks every checksum, OpenCV not all
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    values = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if values is None or values.dtype != np.uint16 or values.shape[:2] != (image.height, image.width):
        raise unreadable(name, "it is damaged or cut off")
    order = [2, 1, 0, 3][: values.shape[2]]
    return Samples(values[:, :, order], "rgb", "straight" if len(order) == 4 else "", 16, 65535, orientation(image))


def _from_pil(image: Image.Image, name: str) -> Samples | Image.Image:
    _check_pixels(*image.size, name)
    try:
        image.load()
    except Exception as error:  # decoders raise a dozen kinds for truncated or damaged content
        raise _damaged(name, error) from error
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # a deep PGM fills 16 bits
        values = np.asarray(image).astype(np.uint16, copy=False)[:, :, None]
        return Samples(values, "grey", "", 16, 65535, orientation(image))
    if image.mode in ("I", "F"):
        return Samples(np.asarray(image)[:, :, None], "grey", "", 32, None, orientation(image))
    if image.mode not in _EIGHT_BIT_MODES:
        raise unreadable(name, f"its pixels are of kind `{image.mode}`; save it as RGB or grey")
    return image


def _pillow_is_right(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether the samples of an opened TIFF file are as Pillow gives them, those of 16 bits included."""
    tags = image.tag_v2
    bits, kinds = tags.get(258, (1,)), tags.get(339, (1,))
    deep = tuple(bits) == (16,) and tags.get(262) == 1
    shallow = set(bits) <= {1, 2, 4, 8} and tags.get(284, 1) == 1
    return set(kinds) == {1} and (shallow or deep)


def upright(image: Image.Image) -> Image.Image:
    """Return a PIL image turned as its EXIF orientation says."""
    try:
        return image if orientation(image) == 1 else ImageOps.exif_transpose(image)
    except Exception:  # EXIF is free-form; pixels that decode are worth more than a broken tag
        return image


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 where there is none or it is damaged."""
    try:
        found = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
    return found if 1 <= found <= 8 else 1


def _eight_bits(stored: Samples, name: str, levels: Levels | None) -> Image.Image:
    if stored.white is None and levels is None:
        _refuse_without_white(stored, name)
    if levels is not None and stored.bits == 8 and stored.white is not None:
        raise _too_shallow(name)
    if levels is not None and stored.colour == "cmyk":
        raise unreadable(name, "`range` is for grey and RGB, and it is CMYK; save it as RGB")
    if stored.white is None and not np.isfinite(stored.opaque).all():
        raise unreadable(name, "some of its samples are not finite numbers; save it without them")
    return stored.image(levels)


def _refuse_without_white(stored: Samples, name: str) -> NoReturn:
    kind = {"f": "real", "i": "signed"}.get(stored.values.dtype.kind, "whole")
    raise unreadable(
        name,
        f"its samples are {stored.bits}-bit {kind} numbers, which have no agreed white; set `--set range=data`, or "
        "save it with 8 or 16 bits a channel",
    )


def _rgb(image: Image.Image) -> np.ndarray:
    """Return the pixels of a loaded, upright image of 8 bits a sample as uint8 (H, W, 3)."""
    if image.has_transparency_data:
        image = _over_white(image)
    if image.mode == "L":
        return _three_channels(np.asarray(image))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _over_white(image: Image.Image) -> Image.Image:
    """Return the image laid over white: as `Image.alpha_composite`, with one copy less of a large image."""
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        shape = ", ".join(map(str, array.shape))
        raise UsageError(
            f"`{name}` must be a uint8 array (H, W), (H, W, 3) or (H, W, 4) with values 0 to 255, channels last; "
            f'got {array.dtype} ({shape}). Convert it, for instance with `(255 * x).round().astype("uint8")`.'
        )
    _check_pixels(array.shape[1], array.shape[0], name)
    if channels == 4:
        return _rgb(Image.fromarray(array))
    if channels == 1:
        return _three_channels(array.reshape(array.shape[:2]))
    return np.ascontiguousarray(array)  # `bgr[..., ::-1]` has negative strides, which torch does not take


def _three_channels(grey: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))  # (H, W) -> (H, W, 3)
