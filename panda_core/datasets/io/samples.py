"""Samples of more than 8 bits, before they become 8: what they mean, and which of them are black and white."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from PIL import Image

Colour = Literal["grey", "rgb", "cmyk"]
Alpha = Literal["", "straight", "premultiplied"]
ROWS = 64  # of an image at a time, so that no temporary array is as large as all of it


@dataclasses.dataclass(frozen=True)
class Levels:
    """Which sample values become 0 and 255, the same ones for all images of a data set."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.9g}-{self.high:.9g}"


@dataclasses.dataclass(frozen=True)
class Samples:
    """An image as it is stored.

    values: (H, W, C), the alpha channel last. bits: of a sample. white: what the format calls white, with 0 as black;
    None for signed, real and 32-bit samples, for which no format does. turn: the EXIF orientation, 1 for none.
    frames: 2 stands for any number of further ones.
    """

    values: np.ndarray
    colour: Colour
    alpha: Alpha
    bits: int
    white: int | None
    turn: int = 1
    frames: int = 1

    @property
    def opaque(self) -> np.ndarray:
        """The values (H, W, C) without the alpha channel."""
        return self.values[:, :, :-1] if self.alpha else self.values

    def image(self, levels: Levels | None) -> Image.Image:
        """Return the upright image with 8 bits a sample: the highest 8 of them, or what lies between `levels`."""
        channels = self.values.shape[2]
        if self.white is None:
            small = np.zeros(self.values.shape, np.uint8)
        else:
            small = (self.values >> (self.bits - 8)).astype(np.uint8)
        if levels is not None:
            shown = small[:, :, :-1] if self.alpha else small
            for top in range(0, len(small), ROWS):
                rows = slice(top, top + ROWS)
                scaled = (self.opaque[rows].astype(np.float64) - levels.low) * (255 / (levels.high - levels.low))
                shown[rows] = np.clip(np.rint(scaled), 0, 255)
        small = np.ascontiguousarray(turned(small, self.turn))
        if self.colour == "cmyk":
            return Image.fromarray(small[:, :, :4], "CMYK")
        if not self.alpha:
            return Image.fromarray(small if channels == 3 else small[:, :, 0])
        if self.alpha == "straight":
            return Image.fromarray(small, "RGBA" if channels == 4 else "LA")
        wide = small if channels == 4 else small[:, :, [0, 0, 0, 1]]
        return Image.fromarray(np.ascontiguousarray(wide), "RGBa").convert("RGBA")


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of a stored image (H, W) or (H, W, C) as its EXIF orientation, 1 to 8, says it is to be shown."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image[:, ::-1] if orientation in (2, 3, 6, 7) else image
