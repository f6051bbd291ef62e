"""The kinds of files in which annotation tools write the same mask."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.datasets.io.tiff_files import DEFLATE, FLOAT, LZW, SIGNED, UNSIGNED, sixteen_bit_png, write_tiff


def file_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def coloured(marked: np.ndarray, colour: tuple[int, ...], ground: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(marked[:, :, None], np.uint8(colour), np.uint8(ground)))


def palette(marked: np.ndarray, colours: list[int], **options: object) -> bytes:
    image = Image.fromarray(marked.astype(np.uint8), "L").convert("P")
    image.putpalette(colours)
    return file_of(image, **options)


KINDS: dict[str, Callable[[np.ndarray], bytes]] = {
    "white on black": lambda m: file_of(Image.fromarray(m.astype(np.uint8) * 255)),
    "1-bit": lambda m: file_of(Image.fromarray(m)),
    "1-bit TIFF": lambda m: file_of(Image.fromarray(m), "TIFF", compression="group4"),
    "values 0 and 1": lambda m: file_of(Image.fromarray(m.astype(np.uint8))),
    "values 0 and 100": lambda m: file_of(Image.fromarray(m.astype(np.uint8) * 100)),
    "16 bits, 0 and 1": lambda m: file_of(Image.fromarray(m.astype(np.uint16))),
    "16 bits, 0 and 255": lambda m: file_of(Image.fromarray(m.astype(np.uint16) * 255)),
    "16 bits, 0 and 65535": lambda m: file_of(Image.fromarray(m.astype(np.uint16) * 65535)),
    "16 bits PGM": lambda m: file_of(Image.fromarray(m.astype(np.uint16) * 65535), "PPM"),
    "12 bits": lambda m: write_tiff(m * 4095, 12, compression=LZW),
    "32 bits": lambda m: write_tiff(m.astype(int), 32, kind=SIGNED, order=">"),
    "32 bits unsigned": lambda m: write_tiff(m * 7, 32, kind=UNSIGNED, compression=DEFLATE),
    "real, 0 and 1": lambda m: write_tiff(m.astype(float), 32, kind=FLOAT, order=">", compression=DEFLATE),
    "16 bits of colour": lambda m: write_tiff(np.stack([m * 65535, m * 0, m * 0], 2), 16, planar=True),
    "16 bits of colour, 0 and 1": lambda m: sixteen_bit_png(np.stack([m, m, m], 2)),
    "16 bits of grey beside alpha, 0 and 1": lambda m: sixteen_bit_png(np.stack([m, m * 0 + 65535], 2)),
    "red on black": lambda m: file_of(coloured(m, (255, 0, 0), (0, 0, 0))),
    "opaque": lambda m: file_of(coloured(m, (255, 255, 255, 255), (0, 0, 0, 255))),
    "invisible all over": lambda m: file_of(coloured(m, (255, 255, 255, 0), (0, 0, 0, 0))),
    "red on nothing": lambda m: file_of(coloured(m, (255, 0, 0, 255), (0, 0, 0, 0))),
    "red on invisible white": lambda m: file_of(coloured(m, (255, 0, 0, 255), (255, 255, 255, 0))),
    "black on nothing": lambda m: file_of(coloured(m, (0, 0, 0, 255), (0, 0, 0, 0))),
    "half transparent on nothing": lambda m: file_of(coloured(m, (0, 255, 0, 90), (0, 0, 0, 0))),
    "half transparent on black": lambda m: file_of(coloured(m, (0, 255, 0, 90), (0, 0, 0, 255))),
    "red on nothing, WebP": lambda m: file_of(coloured(m, (255, 0, 0, 255), (0, 0, 0, 0)), "WEBP", lossless=True),
    "red on nothing, 16 bits": lambda m: write_tiff(
        np.stack([m * 65535, m * 0, m * 0, m * 65535], 2), 16, extra=(2,), planar=True
    ),
    "grey on nothing": lambda m: file_of(Image.fromarray(np.stack([m * 200, m * 255], 2).astype(np.uint8), "LA")),
    "grey, opaque": lambda m: file_of(Image.fromarray(np.stack([m * 255, m * 0 + 255], 2).astype(np.uint8), "LA")),
    "palette": lambda m: palette(m, [0, 0, 0, 128, 0, 0]),
    "palette of one colour": lambda m: palette(m, [0, 0, 0, 0, 0, 0]),
    "palette, ground transparent": lambda m: palette(m, [255, 255, 255, 128, 0, 0], transparency=0),
    "palette, exchanged": lambda m: palette(~m, [255, 255, 255, 0, 0, 0]),
    "colour key": lambda m: file_of(Image.fromarray(m.astype(np.uint8) * 255), transparency=0),
    "GIF": lambda m: file_of(Image.fromarray(m.astype(np.uint8) * 255), "GIF"),
    "BMP": lambda m: file_of(Image.fromarray(m.astype(np.uint8) * 255), "BMP"),
    "light on dark": lambda m: write_tiff((~m) * 255, 8, photometric=0),
}
