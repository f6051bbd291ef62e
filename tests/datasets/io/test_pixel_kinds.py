"""Every kind of sample, byte order and compression of a TIFF, and deep kinds of other formats: right, or refused."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.io.samples import Levels
from panda_core.errors import UnreadableImage
from tests.datasets.io.tiff_files import (
    DEFLATE,
    FLOAT,
    LZW,
    NONE,
    PACKBITS,
    SIGNED,
    UNSIGNED,
    sixteen_bit_png,
    write_tiff,
)

ORDERS, COMPRESSIONS = some.sampled_from("<>"), some.sampled_from((NONE, LZW, DEFLATE, PACKBITS))
SIZES = some.tuples(some.integers(1, 40), some.integers(1, 40))


def drawn(seed: int, *shape: int, top: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top + 1, shape)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return 8-bit colour (H, W, 3) laid over white, in real numbers."""
    share = alpha[:, :, None] / 255
    return colour * share + 255 * (1 - share)


@settings(max_examples=120, deadline=None)
@given(
    seed=some.integers(0, 99),
    size=SIZES,
    bits=some.sampled_from((8, 9, 10, 11, 12, 13, 14, 15, 16)),
    channels=some.sampled_from((1, 3)),
    extra=some.sampled_from(((), (0,), (1,), (2,))),
    order=ORDERS,
    compression=COMPRESSIONS,
    planar=some.booleans(),
    rows=some.integers(1, 40),
    predictor=some.sampled_from((1, 2)),
)
def test_unsigned_samples_keep_their_highest_bits(
    seed: int,
    size: tuple[int, int],
    bits: int,
    channels: int,
    extra: tuple[int, ...],
    order: str,
    compression: int,
    planar: bool,
    rows: int,
    predictor: int,
) -> None:
    """Guards: 12 bits read as 16, hence black; planes in wrong colours; alpha taken for the next row."""
    values = drawn(seed, *size, channels + len(extra), top=2**bits - 1)
    if extra == (1,):
        values[:, :, :-1] = values[:, :, :-1] * (values[:, :, -1:] / (2**bits - 1))
    if bits not in (8, 16) or (extra == (1,) and bits == 8):
        predictor = 1
    content = write_tiff(
        values,
        bits,
        order=order,
        compression=compression,
        planar=planar,
        extra=extra,
        rows=min(rows, size[0]),
        predictor=predictor,
    )
    high = (values >> (bits - 8)).astype(float)
    expected = np.broadcast_to(high[:, :, :channels], (*size, 3))
    tolerance = 0.0
    if extra == (2,):
        expected, tolerance = over_white(expected, high[:, :, -1]), 1.0
    elif extra == (1,):  # of premultiplied samples as many levels are lost as alpha has few
        expected, tolerance = expected + 255 - high[:, :, -1:], 2.0
    assert np.abs(decode_image(content) - expected).max() <= tolerance


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_light_on_dark_is_turned_round(order: str, compression: int) -> None:
    """Guards: 16-bit scans whose 0 is white, read as their negative."""
    for bits in (1, 2, 4, 8, 12, 16):
        values = drawn(bits, 9, 7, top=2**bits - 1)
        content = write_tiff(values, bits, order=order, compression=compression, photometric=0)
        expected = (2**bits - 1 - values) * 255 // (2**bits - 1) if bits < 8 else (2**bits - 1 - values) >> (bits - 8)
        np.testing.assert_array_equal(decode_image(content)[:, :, 0], expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize(
    "bits, kind", [(8, SIGNED), (16, SIGNED), (32, SIGNED), (32, UNSIGNED), (16, FLOAT), (32, FLOAT), (64, FLOAT)]
)
def test_samples_without_white_are_refused_or_laid_between_levels(
    bits: int, kind: int, compression: int, order: str
) -> None:
    """Guards: temperatures below zero shown as white; big-endian numbers read backwards; a guess what is white."""
    values = drawn(bits, 9, 7, top=100) - (0 if kind == UNSIGNED else 50)
    content = write_tiff(values, bits, kind=kind, order=order, compression=compression)
    with pytest.raises(UnreadableImage, match=r"`x.tif` .*no agreed white; set `--set range=data`, or save"):
        decode_image(content, "x.tif")
    seen = decode_image(content, "x.tif", Levels(0, 40))
    expected = np.clip(np.rint(values * 255 / 40), 0, 255)
    np.testing.assert_array_equal(seen, np.repeat(expected[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    "form, channels",
    [("TIFF", 1), ("TIFF", 3), ("TIFF", 4), ("PNG", 1), ("PNG", 3), ("PNG", 4), ("PPM", 1), ("JPEG2000", 1)],
)
def test_levels_choose_black_and_white(form: str, channels: int) -> None:
    """Guards: twelve bits in a file of sixteen, nearly black; a range that holds for grey alone; alpha stretched."""
    values = drawn(channels, 12, 9, channels, top=4095)
    if channels == 4:
        values[:, :, 3] = 65535
    if form == "TIFF":
        content = write_tiff(values, 16, extra=(2,) * (channels == 4))
    elif form == "PNG":
        content = sixteen_bit_png(values)
    else:
        held = io.BytesIO()
        Image.fromarray(values[:, :, 0].astype(np.uint16)).save(held, form)
        content = held.getvalue()
    expected = np.broadcast_to(np.rint(values[:, :, :3] * 255 / 4095), (12, 9, 3))
    np.testing.assert_array_equal(decode_image(content, "x", Levels(0, 4095)), expected)
    np.testing.assert_array_equal(decode_image(content), np.broadcast_to(values[:, :, :3] >> 8, (12, 9, 3)))


def test_levels_are_refused_for_eight_bits() -> None:
    """Guards: a range in units of 16 bits that paints 8-bit images of the same folder black."""
    for planar in (False, True):
        for channels in (1, 3, 5):
            content = write_tiff(drawn(0, 5, 5, channels, top=255), 8, planar=planar, extra=(0, 0) * (channels == 5))
            with pytest.raises(UnreadableImage, match=r"8 bits a sample are read of it, and `range` is for more"):
                decode_image(content, "x", Levels(0, 4095))


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_images_are_turned_as_shallow_ones(turn: int) -> None:
    """Guards: an orientation that holds for 8 bits alone."""
    values = drawn(turn, 9, 7, 3, top=65535)
    for planar in (False, True):
        deep = write_tiff(values, 16, planar=planar, tags=((274, 3, (turn,)),))
        shallow = write_tiff(values >> 8, 8, tags=((274, 3, (turn,)),))
        np.testing.assert_array_equal(decode_image(deep), decode_image(shallow))


def test_sixteen_bit_cmyk_is_as_eight_bit() -> None:
    """Guards: print files of 16 bits in colours of their own."""
    values = drawn(3, 8, 6, 4, top=65535)
    for planar in (False, True):
        deep = decode_image(write_tiff(values, 16, photometric=5, planar=planar))
        np.testing.assert_array_equal(deep, decode_image(write_tiff(values >> 8, 8, photometric=5)))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("planar", [False, True])
def test_a_fourth_channel_without_its_tag_is_alpha(bits: int, planar: bool) -> None:
    """Guards: RGBA of tools that leave a tag out, refused, or shown in the colours hidden under transparency."""
    values = drawn(bits, 8, 6, 4, top=2**bits - 1)
    content = write_tiff(values, bits, photometric=2, planar=planar)
    high = (values >> (bits - 8)).astype(float)
    assert np.abs(decode_image(content) - over_white(high[:, :, :3], high[:, :, 3])).max() <= 1


@pytest.mark.parametrize(
    "content, reason",
    [
        (write_tiff(drawn(0, 6, 6, 3, top=255), 8, photometric=8), "its colours are CIELAB; save it as RGB"),
        (write_tiff(drawn(0, 6, 6, 3, top=255), 8, photometric=6), "subsampled YCbCr; save it as RGB"),
        (write_tiff(drawn(0, 6, 6, top=65535), 16, photometric=3), "its colours are a palette"),
        (write_tiff(drawn(0, 6, 6, 5, top=65535), 16, photometric=1), "5 channels where 1 would be colours"),
        (write_tiff(drawn(0, 6, 6, top=63), 6), "its samples have 6 bits"),
        (write_tiff(drawn(0, 6, 6, top=255), 24), "its samples have 24 bits"),
        (write_tiff(drawn(0, 6, 6, top=65535), 16, tags=((266, 3, (2,)),)), "its bits run backwards"),
        (write_tiff(drawn(0, 6, 6, top=65535), 16, tags=((317, 3, (3,)),)), "its predictor is number 3"),
    ],
)
def test_other_kinds_are_refused_by_name(content: bytes, reason: str) -> None:
    """Guards: colours of another space shown as red, green and blue; the kind called damage."""
    with pytest.raises(UnreadableImage, match=rf"`x.tif` cannot be read: .*{reason}"):
        decode_image(content, "x.tif")


def test_real_samples_that_are_no_numbers_are_refused() -> None:
    """Guards: NaN, which becomes some number or other."""
    values = np.full((4, 4), 0.5)
    values[1, 1] = math.nan
    held = io.BytesIO()
    Image.fromarray(values.astype(np.float32)).save(held, "TIFF")
    with pytest.raises(UnreadableImage, match="not finite"):
        decode_image(held.getvalue(), "x", Levels(0, 1))


def test_deep_tiles_are_put_together() -> None:
    """Guards: tiles laid in the order of strips; the rest of the last tile shown."""
    values = drawn(5, 40, 50, top=4095)
    np.testing.assert_array_equal(decode_image(tiled(values, 12))[:, :, 0], values >> 4)
    np.testing.assert_array_equal(decode_image(tiled(values * 16, 16))[:, :, 0], values >> 4)


def tiled(values: np.ndarray, bits: int) -> bytes:
    """Return a TIFF in tiles of 16 x 32 pixels: as strips of a tall narrow image, tags exchanged."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % 16), (0, -width % 32)))
    tiles = [padded[top : top + 16, left : left + 32] for top in range(0, height, 16) for left in range(0, width, 32)]
    return write_tiff(np.concatenate(tiles), bits, rows=16, tiles=(width, height, 32))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_big_tiffs_are_read(kind: type[np.unsignedinteger]) -> None:
    """Guards: the head of a BigTIFF, twice as long, taken for strips."""
    values = drawn(2, 9, 8, top=int(np.iinfo(kind).max)).astype(kind)
    held = io.BytesIO()
    Image.fromarray(values).save(held, "TIFF", big_tiff=True)
    np.testing.assert_array_equal(decode_image(held.getvalue())[:, :, 0], values >> (8 * values.itemsize - 8))


def test_an_open_tiff_that_pillow_reads_wrongly_is_refused() -> None:
    """Guards: the same file right by its path and black as a PIL image."""
    values = drawn(1, 6, 5, top=4095)
    with pytest.raises(UnreadableImage, match="hand over its path"):
        decode_image(Image.open(io.BytesIO(write_tiff(values, 12))))
    sixteen = write_tiff(values * 16, 16)
    np.testing.assert_array_equal(decode_image(Image.open(io.BytesIO(sixteen))), decode_image(sixteen))


def test_the_first_frame_of_a_gif_counts() -> None:
    """Guards: the last frame, or all of them as one; transparency shown in its hidden colour."""
    first, second = (Image.new("RGB", (6, 5), colour) for colour in ("red", "blue"))
    held = io.BytesIO()
    first.save(held, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode_image(held.getvalue()), np.array(first))
