"""What decoding refuses: damaged, oversized and foreign input ends in one sentence, and changes nothing global."""

from __future__ import annotations

import io
import os
import resource
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from panda_core.datasets.io import decoding
from panda_core.datasets.io.decoding import PIXEL_CEILING, decode_image
from panda_core.datasets.io.opening import FORMATS
from panda_core.errors import UnreadableImage, UsageError

PICTURE = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)


def picture_as(form: str, picture: np.ndarray = PICTURE) -> bytes:
    """Return `picture` as a file of format `form`."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_pixels_without_a_known_white_are_refused(kind: str) -> None:
    """Guards: float or 32-bit TIFFs silently clipped to black and white."""
    content = picture_as("TIFF", np.full((4, 4), 0.5).astype(kind))
    with pytest.raises(UnreadableImage, match=r"`x.tif` .*32-bit .*no agreed white.*8 or 16 bits"):
        decode_image(content, "x.tif")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "the file is empty"),
        (b"not an image at all", "it is not a PNG"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is not a PNG"),
        (picture_as("TGA"), "it is not a PNG"),
        (picture_as("GIF")[:-60], "damaged or cut off"),
        (b"\x89PNG\r\n\x1a\n", "it is not a PNG"),
        (picture_as("JPEG")[:-40], "damaged or cut off"),
        (picture_as("PNG")[:200], "damaged or cut off"),
        (picture_as("TIFF")[:60], "cannot be read"),
        (picture_as("WEBP")[:40], "cannot be read"),
    ],
)
def test_unreadable_content_is_named_with_its_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    """Guards: decoder exceptions of a dozen kinds that end a run at one bad file."""
    path = tmp_path / "cell.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"`shown/cell.png` .*{reason}"):
        decode_image(path, "shown/cell.png")


@pytest.mark.parametrize(
    "name, told",
    [
        ("a/phone.HEIC", "`.heic` files are not read; save it as PNG or JPEG"),
        ("scan.psd", "`.psd` files are not read; export its layers as one PNG"),
        ("x.cr2", "`.cr2` files are not read; develop it as PNG or TIFF of 8 or 16 bits"),
        ("film.mp4", "`.mp4` files are not read; save its frames as PNG"),
        ("values.npy", "`.npy` files are not read; save its values as PNG or TIFF of 8 or 16 bits"),
    ],
)
def test_formats_that_are_not_read_say_what_to_do(name: str, told: str) -> None:
    """Guards: a photo called damaged because of its format, with nothing to do about it."""
    with pytest.raises(UnreadableImage) as raised:
        decode_image(b"something else", name)
    assert str(raised.value) == f"`{name}` cannot be read: {told}."
    np.testing.assert_array_equal(decode_image(picture_as("PNG"), name), PICTURE)  # the content decides


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("tail", [b"<script>alert(1)</script>", b"PK\x05\x06" + bytes(18), b"\x80\x04.", bytes(9000)])
def test_what_follows_an_image_is_not_read(form: str, tail: bytes) -> None:
    """Guards: a file that is two things at once (a picture and a page, an archive, a pickle) read as the second."""
    np.testing.assert_array_equal(decode_image(picture_as(form) + tail, "x"), decode_image(picture_as(form), "x"))


def test_every_truncation_is_refused_or_whole() -> None:
    """Guards: any other exception than `UnreadableImage`, at whatever byte a file was cut; half an image, then grey."""
    for form in FORMATS:
        content = picture_as(form)
        whole = decode_image(content)
        refused = 0
        for length in range(0, len(content), 5):
            try:
                np.testing.assert_array_equal(decode_image(content[:length]), whole)
            except UnreadableImage:
                refused += 1
        assert refused > 10, form


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_are_refused_or_decoded() -> None:
    """Guards: a flipped bit that raises something else, or a size that is not the announced one."""
    rng = np.random.default_rng(1)
    decoded = refused = 0
    for form in FORMATS:
        content = np.frombuffer(picture_as(form), dtype=np.uint8)
        for _ in range(60):
            damaged = content.copy()
            damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
            try:
                assert decode_image(damaged.tobytes()).shape[2] == 3
                decoded += 1
            except UnreadableImage:
                refused += 1
    assert decoded > 60 and refused > 60  # damage that hits nothing, or always the start, would test one of them alone


@pytest.mark.parametrize("width, height", [(50_000, 50_000), (10_000, 10_000), (5_001, 5_000), (1, 2**31 - 1)])
def test_pixel_bomb_is_refused_before_decoding(width: int, height: int) -> None:
    """Guards: a file of 200 bytes that asks for gigabytes, and Pillow, which only warns from 89 to 179 million."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImage, match=r"`bomb.png` .*more than 25 million"):
            decode_image(png_header(width, height), "bomb.png")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000  # KiB


def test_ceilings_hold_for_open_images_arrays_and_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards: one way in that forgot the ceilings; an image exactly at a ceiling refused."""
    monkeypatch.setattr(decoding, "PIXEL_CEILING", 107)
    for source in (PICTURE, Image.fromarray(PICTURE), picture_as("PNG")):
        with pytest.raises(UnreadableImage, match=r"9 x 12 pixels"):
            decode_image(source)
    monkeypatch.setattr(decoding, "PIXEL_CEILING", 108)
    assert decode_image(PICTURE).shape == (12, 9, 3)
    content = picture_as("PNG")
    (tmp_path / "large.png").write_bytes(content)
    monkeypatch.setattr(decoding, "BYTE_CEILING", len(content) - 1)
    for source in (content, tmp_path / "large.png"):
        with pytest.raises(UnreadableImage, match=r"MB"):
            decode_image(source)


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    """Guards: a named pipe that is waited on for ever; a missing file or a NUL in a path as another exception."""
    os.mkfifo(tmp_path / "pipe.png")
    for place in ("pipe.png", "missing.png", "nul\0.png", ".", "x" * 300):
        with pytest.raises(UnreadableImage):
            decode_image(tmp_path / place)


@pytest.mark.parametrize(
    "array",
    [
        PICTURE / 255,
        PICTURE.astype(np.uint16),
        PICTURE.astype(bool),
        PICTURE.transpose(2, 0, 1),
        PICTURE[None],
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_other_arrays_are_refused_with_the_remedy(array: np.ndarray) -> None:
    """Guards: floats in [0, 1] truncated to black; channels-first arrays taken for three-pixel-high images."""
    with pytest.raises(UsageError, match=r"uint8 array .*channels last; got"):
        decode_image(array)


def test_other_types_and_empty_arrays_are_refused() -> None:
    """Guards: a list or None that fails far away; an image without pixels that reaches the network."""
    with pytest.raises(UsageError, match=r"got list"):
        decode_image([[0]])  # type: ignore[arg-type]
    with pytest.raises(UnreadableImage, match=r"no pixels"):
        decode_image(np.zeros((0, 4, 3), np.uint8))


def test_nothing_global_changes_with_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: Pillow's flags or Python's warning filters left changed, also when threads decode at once."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    content, pauses, open_image = picture_as("PNG"), iter([0.02, 0.06, 0.04, 0.08]), Image.open

    def open_slowly(*arguments: object, **options: object) -> Image.Image:
        time.sleep(next(pauses))  # threads leave in another order than they came
        return open_image(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", open_slowly)
    threads = [threading.Thread(target=decode_image, args=(content,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
    assert (Image.MAX_IMAGE_PIXELS or 0) > PIXEL_CEILING  # else Pillow's warning would come before our sentence
