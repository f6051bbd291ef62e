"""Decoding: one picture, one array, in whatever form it arrives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets.io.decoding import decode_image

# Red, green, blue and yellow corners: any swap of channels, axes or order shows.
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], dtype=np.uint8)
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form, options", [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_every_lossless_format_gives_the_same_pixels(form: str, options: dict[str, object], tmp_path: Path) -> None:
    """Guards: channels or axes swapped for one format or one way in (path, text path, bytes, PIL, array)."""
    content = encoded(Image.fromarray(PICTURE), form, **options)
    path = tmp_path / "wrong.ending"
    path.write_bytes(content)
    for source in (path, str(path), content, Image.open(path), PICTURE):
        image = decode_image(source)
        assert image.dtype == np.uint8 and image.shape == (12, 9, 3)
        np.testing.assert_array_equal(image, PICTURE)


def test_channel_order_is_red_green_blue() -> None:
    """Guards: a BGR reader, which changes every score and no shape."""
    large = np.kron(CORNERS, np.ones((16, 16, 1), dtype=np.uint8))
    image = decode_image(encoded(Image.fromarray(large), "JPEG", quality=95, subsampling=0))
    assert np.abs(image[8, 8].astype(int) - [255, 0, 0]).max() < 6
    assert np.abs(image[8, 24].astype(int) - [0, 255, 0]).max() < 6
    assert np.abs(image[24, 8].astype(int) - [0, 0, 255]).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(orientation: int, form: str) -> None:
    """Guards: phone pictures lying on their side, or turned twice where the decoder turns them already."""
    large = np.kron(CORNERS, np.ones((16, 24, 1), dtype=np.uint8))
    stored = {  # what a camera stores so that the viewer's turn gives `large`: the inverse of each orientation
        1: large,
        2: large[:, ::-1],
        3: large[::-1, ::-1],
        4: large[::-1],
        5: large.transpose(1, 0, 2),
        6: np.rot90(large, 1),
        7: large[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(large, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif)
    image = decode_image(content)
    assert image.shape == large.shape
    assert np.abs(image.astype(int) - large)[8::16, 12::24].max() < 30  # far from edges, where JPEG and WebP blur


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_image() -> None:
    """Guards: a picture refused for a broken tag that has nothing to do with its pixels."""
    content = encoded(Image.fromarray(PICTURE), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff")
    np.testing.assert_array_equal(decode_image(content), PICTURE)


@pytest.mark.parametrize("mode", ["1", "L", "I;16"])
def test_grey_gives_three_equal_channels(mode: str) -> None:
    """Guards: grey inputs with one channel, or with channels that differ."""
    image = decode_image(encoded(Image.fromarray(PICTURE[:, :, 0]).convert(mode), "PNG"))
    assert image.shape == (12, 9, 3)
    assert (image == image[:, :, :1]).all()


def test_sixteen_bits_keep_their_range() -> None:
    """Guards: Pillow's conversion, which clips everything above 255 of 65535 to white."""
    deep = np.array([[0, 255, 256], [32768, 65279, 65535]], dtype=np.uint16)
    expected = np.array([[0, 0, 1], [128, 254, 255]])
    for form in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(deep), form))[:, :, 0], expected)
    np.testing.assert_array_equal(decode_image(Image.fromarray(deep))[:, :, 0], expected)
    widened = PICTURE[:, :, 0].astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(Image.fromarray(widened))[:, :, 0], PICTURE[:, :, 0])


def test_transparency_is_laid_over_white() -> None:
    """Guards: the colour hidden under full transparency, often black, becoming part of the picture."""
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    expected = np.array([[[200, 100, 50], [255, 255, 255], [127, 127, 127]]])
    np.testing.assert_array_equal(decode_image(rgba), expected)
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(rgba), "PNG")), expected)
    grey_alpha = Image.fromarray(np.array([[[10, 255], [10, 0]]], dtype=np.uint8), "LA")
    np.testing.assert_array_equal(decode_image(encoded(grey_alpha, "PNG"))[0, :, 0], [10, 255])
    colour_key = encoded(Image.fromarray(PICTURE), "PNG", transparency=tuple(int(value) for value in PICTURE[0, 0]))
    np.testing.assert_array_equal(decode_image(colour_key)[0, 0], [255, 255, 255])


def test_palette_images_show_their_colours() -> None:
    """Guards: palette indices taken for grey values; a transparent palette entry shown in its hidden colour."""
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(decode_image(encoded(palette, "PNG")), [[[10, 20, 30], [200, 100, 50]]])
    np.testing.assert_array_equal(
        decode_image(encoded(palette, "PNG", transparency=0)), [[[255, 255, 255], [200, 100, 50]]]
    )


def test_cmyk_is_converted() -> None:
    """Guards: print files refused, inverted, or read as RGBA."""
    flat = Image.new("RGB", (16, 16), (250, 5, 5)).convert("CMYK")
    for form in ("TIFF", "JPEG"):
        image = decode_image(encoded(flat, form))
        assert image.shape == (16, 16, 3)
        assert np.abs(image.astype(int) - [250, 5, 5]).max() < 6


def test_first_frame_of_several() -> None:
    """Guards: the last page of a TIFF, a stereo JPEG (MPO) refused, an animated PNG or WebP taken apart."""
    other = Image.fromarray(255 - PICTURE)
    for form, options in (("TIFF", {}), ("PNG", {}), ("WEBP", {"lossless": True})):
        content = encoded(Image.fromarray(PICTURE), form, save_all=True, append_images=[other], **options)
        np.testing.assert_array_equal(decode_image(content), PICTURE)
    flat = Image.new("RGB", (16, 16), (250, 5, 5))
    stereo = encoded(flat, "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert np.abs(decode_image(stereo).astype(int) - [250, 5, 5]).max() < 6


def test_arrays_pass_unchanged() -> None:
    """Guards: an array that is converted, copied for nothing, or changed for the caller."""
    assert decode_image(PICTURE) is PICTURE
    grey = PICTURE[:, :, 0]
    for array in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(decode_image(array), np.stack([grey] * 3, axis=2))
    backwards = decode_image(PICTURE[:, :, ::-1])
    np.testing.assert_array_equal(backwards, PICTURE[:, :, ::-1])
    assert backwards.flags.c_contiguous


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 4000), (4000, 3)])
def test_tiny_and_long_images_keep_their_size(size: tuple[int, int]) -> None:
    """Guards: width and height swapped, which square images never show."""
    assert decode_image(encoded(Image.new("RGB", size), "PNG")).shape == (size[1], size[0], 3)


def test_a_decoded_image_is_the_callers_own() -> None:
    """Guards: read-only pixels, on which torch warns, and a PIL image altered by being decoded."""
    image = Image.fromarray(PICTURE)
    pixels = decode_image(image)
    pixels[:] = 0
    np.testing.assert_array_equal(np.asarray(image), PICTURE)
