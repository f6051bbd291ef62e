"""The one place where an image file becomes pixels: uint8 (H, W, 3), RGB, upright.

Rules, so that the same picture gives the same array in whatever form it arrives:

- The content decides the format, not the name: PNG, JPEG, WebP, BMP and TIFF. Others are refused, GIF and SVG too:
  every further decoder is a further way in for a hostile file.
- At most `PIXEL_CEILING` pixels and `BYTE_CEILING` bytes, both checked before anything is decoded.
- The EXIF orientation is applied. A damaged EXIF block counts as absent.
- Grey and 1-bit give three equal channels. 16 bits become 8 by keeping the high byte, so 65535 becomes 255 and
  brightness stays comparable between images (no stretching image by image). 32-bit integers and floats have no
  agreed white and are refused.
- Transparency, palettes' too, is laid over white. CMYK is converted without its colour profile.
- Of several frames or pages (animated PNG and WebP, TIFF) the first counts; of an open PIL image the frame it
  stands at.
- A damaged or truncated image is refused, never filled up with grey. What follows the end of an image is not read.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from panda_core.errors import UnreadableImage, UsageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff")
PIXEL_CEILING = 25_000_000
BYTE_CEILING = 4 * PIXEL_CEILING  # the largest image allowed, uncompressed with transparency

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray

_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
# `warnings.catch_warnings` swaps process-wide filters, so two threads must not be inside it at once.
_opening = threading.Lock()


def decode_image(source: ImageSource, name: str = "") -> np.ndarray:
    """Return `source` as uint8 (H, W, 3), RGB; `UnreadableImage`, with `name` and the reason, where that fails.

    source: a path, the bytes of an image file, a PIL image, or a uint8 array (H, W), (H, W, 1), (H, W, 3) or
    (H, W, 4), channels in RGB(A) order; an array of another kind is the caller's mistake and raises `UsageError`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "the array")
    if isinstance(source, Image.Image):
        return _from_pil(source, name or getattr(source, "filename", "") or "the image")
    if isinstance(source, bytes):
        return _from_bytes(source, name or "the image")
    if isinstance(source, (str, os.PathLike)):
        name = name or os.fspath(source)
        return _from_bytes(_read(source, name), name)
    raise UsageError(
        f"An image must be a path, bytes, a PIL image or a uint8 array (H, W, 3); got {type(source).__name__}."
    )


def _unreadable(name: str, reason: str) -> UnreadableImage:
    return UnreadableImage(f"`{name}` cannot be read: {reason}.")


def _read(path: str | os.PathLike[str], name: str) -> bytes:
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # reading a named pipe would wait for ever
            raise _unreadable(name, "it is not a file")
        _check_bytes(status.st_size, name)
        with open(path, "rb") as file:
            return file.read(BYTE_CEILING + 1)  # a file that grows meanwhile is caught by the next check
    except OSError as error:
        raise _unreadable(name, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the path
        raise _unreadable(name, str(error)) from error


def _check_bytes(count: int, name: str) -> None:
    if count == 0:
        raise _unreadable(name, "the file is empty")
    if count > BYTE_CEILING:
        raise _unreadable(name, f"it has more than {BYTE_CEILING // 1_000_000} MB; save it smaller")


def _check_pixels(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise _unreadable(name, "it has no pixels")
    if width * height > PIXEL_CEILING:
        allowed = PIXEL_CEILING // 1_000_000
        raise _unreadable(name, f"it has {width} x {height} pixels, more than {allowed} million; save it smaller")


def _from_bytes(content: bytes, name: str) -> np.ndarray:
    _check_bytes(len(content), name)
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _unreadable(name, f"more than {PIXEL_CEILING // 1_000_000} million pixels; save it smaller") from error
    except Exception as error:  # a damaged header raises whatever the decoder stumbled over
        reason = "it is not a PNG, JPEG, WebP, BMP or TIFF image, or its beginning is damaged"
        raise _unreadable(name, reason) from error
    with image:
        return _from_pil(image, name)


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    _check_pixels(*image.size, name)
    try:
        image.load()
        return _rgb(_upright(image), name)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise a dozen kinds for truncated or damaged content
        raise _unreadable(name, f"it is damaged or cut off ({error})") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image  # `exif_transpose` would copy it
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF is free-form; pixels that decode are worth more than a broken tag
        return image


def _rgb(image: Image.Image, name: str) -> np.ndarray:
    """Return the pixels of a loaded, upright image as uint8 (H, W, 3)."""
    if image.mode.startswith("I;16"):
        return _three_channels((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in _EIGHT_BIT_MODES:
        raise _unreadable(name, f"its pixels are of kind `{image.mode}`; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        image = _over_white(image)
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
        return _rgb(Image.fromarray(array), name)
    if channels == 1:
        return _three_channels(array.reshape(array.shape[:2]))
    return np.ascontiguousarray(array)  # `bgr[..., ::-1]` has negative strides, which torch does not take


def _three_channels(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)  # (H, W) -> (H, W, 3)
