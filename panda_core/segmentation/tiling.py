"""The maps of a network's stages over all of a large photo, put together from those of its tiles."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.errors import UsageError
from panda_core.features.trunk import network_input, resampling_of
from panda_core.segmentation.maps import rotated
from panda_core.segmentation.tiles import TileGrid

TOGETHER = 4  # tiles that a network looks at at once, as many as images of a run


@torch.inference_mode()
def tiled_maps(
    grid: TileGrid,
    network: Network,
    levels: Sequence[str],
    device: torch.device,
    pools: bool,
    image: np.ndarray,
    rotation: int = 0,
    rotations: int = 1,
) -> tuple[list[Tensor], Tensor | None]:
    """Return the maps (1, C, h, w) of stages over an image (H, W, 3), and its pooled feature (1, P), or None.

    rotation, rotations: as of `panda_core.segmentation.maps.rotated`. After a quarter turn, or three, a photo has
    another shape: its maps are turned back, so that each cell is where it was before.
    pools: whether there is a pooled feature: the mean of the tiles' own, as if the network had pooled over all of the
    photo. Tiles are cut, looked at and forgotten a few at a time; only the maps grow with the photo.
    """
    quarters = 4 * rotation // rotations if 4 * rotation % rotations == 0 else 0
    grid = grid.transposed() if quarters % 2 else grid
    preprocessing = dataclasses.replace(network.preprocessing, crop=1.0)
    canvas = _padded(_scaled(rotated(image, rotation, rotations), grid, resampling_of(preprocessing)), grid.side)
    places = list(itertools.product(enumerate(grid.offsets(0)), enumerate(grid.offsets(1))))
    totals: list[Tensor] = []
    pooled: list[Tensor] = []
    for start in range(0, len(places), TOGETHER):
        several = places[start : start + TOGETHER]
        crops = [canvas[top : top + grid.side, left : left + grid.side] for (_, top), (_, left) in several]
        x = network_input(np.stack(crops), preprocessing).to(device)
        maps = network.stage_maps(x, levels)
        totals = totals or [_blank(level, grid, name) for level, name in zip(maps, levels, strict=True)]
        for total, level in zip(totals, maps, strict=True):
            _add(total, level, grid, several)
        if pools:
            pooled.append(network.tail(network.trunk(x)))
    whole = [_cut_off(total, canvas.shape, grid.canvas) for total in totals]
    if quarters % 2:
        whole = [level.rot90(-quarters, (2, 3)) for level in whole]
    return whole, torch.cat(pooled).mean(dim=0, keepdim=True) if pools else None


def _scaled(image: np.ndarray, grid: TileGrid, resampling: Image.Resampling) -> np.ndarray:
    """Return an image (H, W, 3) on the canvas of `grid`, (h, w, 3); a photo of another aspect is squeezed."""
    height, width = grid.canvas
    return np.asarray(Image.fromarray(image).resize((width, height), resampling))


def _padded(canvas: np.ndarray, side: int) -> np.ndarray:
    """Return a canvas that is at least a tile wide and high: what it lacks is mirrored in, and cut off the maps."""
    missing = [(0, max(0, side - extent)) for extent in canvas.shape[:2]]
    return np.pad(canvas, (*missing, (0, 0)), "symmetric")


def _blank(level: Tensor, grid: TileGrid, name: str) -> Tensor:
    """Return zeros (1, C, h, w) for the map of a stage over the padded canvas, of whose tiles `level` has some."""
    cells = level.shape[-1]
    if grid.side % cells or grid.unit % (grid.side // cells):
        raise UsageError(
            f"`--tiles` needs maps whose cells divide {grid.unit} px; stage `{name}` has {cells} of them over "
            f"{grid.side} px. Set other `--set levels=`, or `--tiles off`."
        )
    extents = [max(side, grid.side) * cells // grid.side for side in grid.canvas]
    return level.new_zeros((1, level.shape[1], *extents))


def _cut_off(total: Tensor, padded: tuple[int, ...], canvas: tuple[int, int]) -> Tensor:
    """Return the map (1, C, h, w) of a canvas without what was mirrored in, of (height, width, ...) `padded` pixels."""
    height, width = (
        extent * own // larger for extent, own, larger in zip(canvas, total.shape[2:], padded, strict=False)
    )
    return total[..., :height, :width]


def _add(
    total: Tensor, level: Tensor, grid: TileGrid, several: Sequence[tuple[tuple[int, int], tuple[int, int]]]
) -> None:
    """Add the maps (B, C, n, n) of some tiles to that of the photo, each cell by its weight."""
    cells = level.shape[-1]
    rows, columns = (torch.from_numpy(grid.weights(axis, cells)).to(level) for axis in (0, 1))
    for own, ((row, top), (column, left)) in zip(level, several, strict=True):
        first, second = top * cells // grid.side, left * cells // grid.side
        total[0, :, first : first + cells, second : second + cells] += own * rows[row][:, None] * columns[column]
