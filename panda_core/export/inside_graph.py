"""The region of interest inside a graph with maps: `panda_core.segmentation.inside` as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.region import Region
from panda_core.segmentation.inside import Inside
from panda_core.segmentation.maps import counted_cells, drawn_share


class _Level(nn.Module):
    """Which cells of a map (h, w) count, by number, and for each cell the nearest that does."""

    own: Tensor
    nearest: Tensor
    outside: Tensor

    def __init__(self, inside: Inside) -> None:
        super().__init__()
        self.register_buffer("own", torch.from_numpy(np.flatnonzero(inside.counts)))
        self.register_buffer("nearest", torch.from_numpy(inside.nearest.ravel()))
        self.register_buffer("outside", torch.from_numpy(~inside.counts))


class InsideGraph(nn.Module):
    """What counts of the maps of each group, (h, w), of the deep grid that is scored, and of the one that is drawn."""

    deep: Tensor
    grid: Tensor
    share: Tensor

    def __init__(self, region: Region, inside: Sequence[Inside], grid: int, deep: int, size: int, sigma: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_Level(own) for own in inside)
        self.register_buffer("deep", torch.from_numpy(np.flatnonzero(counted_cells(region, (deep, deep)))))
        self.register_buffer("grid", torch.from_numpy(counted_cells(region, (grid, grid)).astype(np.float32)))
        self.register_buffer("share", torch.from_numpy(drawn_share(region, (grid, grid), size, sigma)))

    def _places(self) -> list[_Level]:
        return cast("list[_Level]", list(self.levels))

    def means(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the mean (B,) of the maps (B, h, w) of each group over the cells that count."""
        return [level.flatten(1)[:, own.own].mean(dim=1) for level, own in zip(levels, self._places(), strict=True)]

    def filled(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return these maps with the value of the nearest cell that counts in those that do not."""
        return [
            level.flatten(1)[:, own.nearest].reshape(level.shape)
            for level, own in zip(levels, self._places(), strict=True)
        ]

    def alone(self, distances: Sequence[Tensor]) -> list[Tensor]:
        """Return distances (B, h, w) with -1 in the cells that do not count."""
        return [found.masked_fill(own.outside, -1.0) for found, own in zip(distances, self._places(), strict=True)]

    def scored(self, grids: Tensor) -> Tensor:
        """Return the values (B, n) of deep grids (B, g, g) in the cells that count."""
        return grids.flatten(1)[:, self.deep]

    def marked(self, grids: Tensor) -> Tensor:
        """Return grids (B, g, g), 0 where nothing counts."""
        return grids * self.grid

    def cut(self, maps: Tensor) -> Tensor:
        """Return maps (B, H, W) that were drawn from such grids, 0 outside of the region."""
        return maps * self.share
