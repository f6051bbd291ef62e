"""Large photos cut into overlapping tiles: how many, where they lie, and how what is seen of them is put together.

A photo is scaled, its aspect kept, to a canvas that squares as large as a network's input cover; neighbours share a
quarter of their side or more. What is put together are the maps of the network's stages, and not maps of defects: a
photo then has one grid of patches like any other image, and what compares, scores or draws patches knows of no tiles.
Light: no torch.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from panda_core.config import TILES_AUTO, TILES_OFF, RunConfig
from panda_core.errors import UnreadableImage, UsageError
from panda_core.segmentation.geometry import STRIDE, network_side

OVERLAP = 0.25  # of a tile's side, at least, that it shares with each neighbour
# With more, `auto` would take more than 16 times the time of the whole photo at once; N asks for more.
AUTO_MOST = 4
MOST_MAP = 1024  # pixels of a map's longer side: in 100 photos of 3,000 x 2,000 px every pixel would take 2.4 GB
ALIKE = 1.1  # ratio of the aspects of two photos up to which one is squeezed to the other's


@dataclasses.dataclass(frozen=True)
class TileGrid:
    """How the photos of a run are cut.

    photo: (height, width) in pixels of a photo like those of the run, whose aspect counts.
    side: of a tile, in pixels of the network's input. count: tiles along the photo's longer side.
    unit: tiles begin at multiples of so many pixels, so that the cells of all stages' maps fall on those of neighbours.
    """

    photo: tuple[int, int]
    side: int
    count: int
    unit: int = STRIDE

    def __post_init__(self) -> None:
        if self.step >= self.side:
            raise UsageError(
                f"`--tiles {self.count}` needs tiles of at least {2 * self.unit} px, so that they overlap; got "
                f"{self.side} px. Set `--image-size {4 * self.unit}`."
            )
        if self.side % self.unit:
            raise UsageError(
                f"`--tiles` needs an image size that {self.unit} px divide; got {self.side} px. Set `--image-size "
                f"{math.lcm(self.unit, STRIDE)}`."
            )

    @property
    def step(self) -> int:
        """Pixels from one tile to the next, at most."""
        return _step(self.side, self.unit)

    @property
    def canvas(self) -> tuple[int, int]:
        """(height, width) to which a photo is scaled: multiples of `unit`, the longer one covered by `count` tiles."""
        longer, (height, width) = self.side + (self.count - 1) * self.step, self.photo
        shorter = self.unit * max(1, round(longer * min(self.photo) / max(self.photo) / self.unit))
        return (shorter, longer) if height < width else (longer, shorter)

    @property
    def share(self) -> float:
        """How much of the canvas one tile is; above 1 where the canvas is narrower than a tile."""
        return self.side**2 / math.prod(self.canvas)

    def offsets(self, axis: int) -> list[int]:
        """Return where tiles begin along an axis of the canvas, 0 the height, ascending: evenly, the first at 0."""
        rest = max(0, self.canvas[axis] - self.side)
        count = 1 + math.ceil(rest / self.step)
        return [self.unit * round(rest / self.unit * number / max(1, count - 1)) for number in range(count)]

    @property
    def tiles(self) -> tuple[int, int]:
        """How many tiles there are along height and width."""
        return len(self.offsets(0)), len(self.offsets(1))

    def weights(self, axis: int, cells: int) -> np.ndarray:
        """Return how much the `cells` of each tile count along an axis: float32 (tiles, cells).

        They fall towards a border that lies within a neighbour, since there a network sees zeros in place of what lies
        beyond, and at every place of the canvas they sum to 1.
        """
        stride = self.side / cells
        starts = [round(offset / stride) for offset in self.offsets(axis)]
        place = np.arange(cells) + 0.5
        raw, total = np.empty((len(starts), cells)), np.zeros(starts[-1] + cells)
        for number, start in enumerate(starts):
            before = place if number else np.full(cells, math.inf)
            after = cells - place if number < len(starts) - 1 else np.full(cells, math.inf)
            shared = OVERLAP * cells  # further inside than neighbours reach, nothing falls
            raw[number] = np.minimum(np.minimum(before, after), shared)
            total[start : start + cells] += raw[number]
        sums = [total[start : start + cells] for start in starts]
        return np.asarray(raw / np.array(sums), np.float32)

    def transposed(self) -> TileGrid:
        """Return the grid of the same photos turned by a quarter."""
        return dataclasses.replace(self, photo=self.photo[::-1])

    def check_fits(self, shape: tuple[int, ...], name: str) -> None:
        """Raise `UnreadableImage` for an image (H, W, ...) of another aspect than the photos of the run."""
        if not same_aspect((shape[0], shape[1]), self.photo):
            raise UnreadableImage(
                f"`{name}` is {shape[1]:,} × {shape[0]:,} px; with `--tiles {self.count}` a photo must have the aspect "
                f"of those learned from, {self.photo[1]:,} × {self.photo[0]:,} px, within {ALIKE - 1:.0%}. Turn or cut "
                "it, or learn with `--tiles off`."
            )


def same_aspect(photo: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether one photo (two sides in pixels, in one order) can be squeezed to the aspect of another."""
    return 1 / ALIKE <= photo[0] * other[1] / (photo[1] * other[0]) <= ALIKE


class Drawing(NamedTuple):
    """How the grids of a run are drawn as maps, see `panda_core.segmentation.maps.full_map`.

    size: pixels of a map's longer side. sigma: of its blur, in pixels where `size` is 224.
    """

    size: int
    sigma: float


def drawing_of(config: RunConfig) -> Drawing:
    """Return how the maps of a resolved config are drawn: with tiles larger, and blurred as much as a single tile's."""
    size, sigma = int(config.image_size or 0), float(config.set.get("sigma", 0))
    if config.tiles == TILES_OFF:
        return Drawing(size, sigma)
    side, count = network_side(size), int(config.tiles)
    return Drawing(drawing_size(side, count), sigma * side / canvas_side(side, count))


def canvas_side(side: int, count: int) -> int:
    """Return the longer side of the canvas that `count` tiles of `side` pixels cover.

    Networks with patches of 14 pixels have a canvas that is a few hundredths longer; maps are drawn as if it were not.
    """
    return side + (count - 1) * _step(side, STRIDE)


def drawing_size(side: int, count: int) -> int:
    """Return the longer side of a map, in pixels, that is drawn of `count` tiles of `side` pixels."""
    return min(MOST_MAP, canvas_side(side, count))


def automatic(photo: tuple[int, int], side: int) -> str:
    """Return what `auto` means for photos (height, width): the most tiles, up to 4, that enlarge none of them."""
    fitting = [count for count in range(2, AUTO_MOST + 1) if canvas_side(side, count) <= max(photo)]
    return str(fitting[-1]) if fitting else TILES_OFF


def grid_of(tiles: str, photo: tuple[int, int], side: int, unit: int = STRIDE) -> TileGrid | None:
    """Return how photos (height, width) are cut with `--tiles`, None where they are not."""
    tiles = automatic(photo, side) if tiles == TILES_AUTO else tiles
    return None if tiles == TILES_OFF else TileGrid(photo, side, int(tiles), unit)


def unit_of(patch: int | None) -> int:
    """Return where tiles may begin: at multiples of 32 pixels, or, of a network with patches that do not divide those,
    at multiples of its patches.
    """
    return STRIDE if patch is None or STRIDE % patch == 0 else patch


def _step(side: int, unit: int) -> int:
    return max(unit, int(side * (1 - OVERLAP)) // unit * unit)
