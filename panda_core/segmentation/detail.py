"""How fine a defect in a photo can be to be seen at all, once a network has looked at the photo at a smaller size."""

from __future__ import annotations

import dataclasses
import math

from panda_core.segmentation.geometry import network_side

FINEST_STRIDE = 8  # pixels of the network's input that a cell of its finest maps stands for
# Pixels of the network's input that a long scratch must be wide to be seen. 40 normal solar cells (300 px) against the
# same with a line 40 grey levels darker across a quarter to a half of the cell, PatchCore at 224 px: AUROC 0.61, 0.92,
# 0.96, 0.93, 0.98 at widths of 0.1, 0.3, 0.5, 1 and 2 pixels. Narrower, hardly any of the contrast is left.
SEEN = 0.3


@dataclasses.dataclass(frozen=True)
class Detail:
    """What is left of the detail of a photo.

    photo: its (width, height) in pixels, as it was taken.
    side: of the square, in pixels, that a network looks at.
    """

    photo: tuple[int, int]
    side: int

    @property
    def pixel(self) -> float:
        """How many pixels of the photo's longer side become one of the network's; below 1 where it is enlarged."""
        return max(self.photo) / self.side

    @property
    def narrowest(self) -> int:
        """The width, in pixels of the photo, of the narrowest scratch that can be seen."""
        return max(1, math.ceil(SEEN * self.pixel))

    @property
    def cell(self) -> int:
        """How far apart, in pixels of the photo, two places are that a map can tell apart: a cell of its patches."""
        return max(1, math.ceil(FINEST_STRIDE * self.pixel))

    def sentence(self, *, maps: bool = True) -> str:
        """Return what can be seen, in words. maps: whether a map says where."""
        width, height = self.photo
        seen = f"Photos of {width:,} × {height:,} px are looked at as {self.side} × {self.side} px"
        if self.narrowest > 1:
            seen += f": a scratch narrower than about {self.narrowest:,} px of the photo is lost"
        return f"{seen}. Their maps have cells of {self.cell:,} px." if maps else f"{seen}."


def detail_of(photo: tuple[int, int], image_size: int, *, maps: bool = True) -> Detail:
    """Return the detail left of a photo (width, height) at an `image_size`. maps: for maps it is a multiple of 32."""
    return Detail(photo, network_side(image_size) if maps else image_size)
