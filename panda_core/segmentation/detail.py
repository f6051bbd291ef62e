"""How fine a defect in a photo can be to be seen at all, once a network has looked at the photo at a smaller size."""

from __future__ import annotations

import dataclasses
import math

from panda_core.config import TILES_OFF
from panda_core.segmentation.geometry import network_side
from panda_core.segmentation.tiles import TileGrid, grid_of

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
    tiles: `off`, or how many overlapping squares lie along the photo's longer side.
    """

    photo: tuple[int, int]
    side: int
    tiles: str = TILES_OFF

    @property
    def grid(self) -> TileGrid | None:
        """How the photo is cut; None where it is looked at whole."""
        return grid_of(self.tiles, self.photo[::-1], self.side)

    @property
    def pixel(self) -> float:
        """How many pixels of the photo's longer side become one of the network's; below 1 where it is enlarged."""
        return max(self.photo) / (self.side if self.grid is None else max(self.grid.canvas))

    @property
    def times(self) -> int:
        """How many times as long a network looks at it as at the photo whole; reading the photo takes no longer."""
        return 1 if self.grid is None else math.prod(self.grid.tiles)

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
        if self.grid is not None:
            down, across = self.grid.tiles
            seen = f"Photos of {width:,} × {height:,} px are looked at in {across} × {down} tiles of {self.side} px"
        if self.narrowest > 1:
            seen += f": a scratch narrower than about {self.narrowest:,} px of the photo is lost"
        return f"{seen}. Their maps have cells of {self.cell:,} px." if maps else f"{seen}."


def detail_of(photo: tuple[int, int], image_size: int, *, maps: bool = True, tiles: str = TILES_OFF) -> Detail:
    """Return the detail left of a photo (width, height) at an `image_size`. maps: for maps it is a multiple of 32."""
    return Detail(photo, network_side(image_size) if maps else image_size, tiles)


def tiles_note(photo: tuple[int, int], image_size: int, tiles: str) -> str:
    """Return how photos (height, width) are looked at in a run, what can be seen, and what it costs, in words.

    tiles: a number of them, or `off` where the run has decided so.
    """
    detail = detail_of((photo[1], photo[0]), image_size, tiles=tiles)
    if detail.grid is None:
        return f"{detail.sentence()} Tiles would enlarge them."
    return f"{detail.sentence()} That takes up to {detail.times} times as long as `--tiles off`."
