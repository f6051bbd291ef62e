"""A detector with maps as one graph: resized pixels in, anomaly scores and maps out.

Network, neighbourhoods, spaces, banks, upsampling and blur are inside, as `PatchModel` and `full_map` compute them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.export.graph import DetectorGraph
from panda_core.export.inside_graph import InsideGraph
from panda_core.export.patch_methods import Fused, graph_of_method
from panda_core.segmentation.geometry import Cells, reading_matrices
from panda_core.segmentation.maps import drawing_matrices
from panda_core.segmentation.model import PatchModel


class Reading(nn.Module):
    """Maps (B, h, w) -> (B, H, W): read row by row and column by column with fixed weights (H, h) and (W, w)."""

    rows: Tensor
    columns: Tensor

    def __init__(self, rows: np.ndarray, columns: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("rows", torch.from_numpy(rows))
        self.register_buffer("columns", torch.from_numpy(columns.T.copy()))

    def forward(self, maps: Tensor) -> Tensor:
        return self.rows @ maps @ self.columns


class Fusing(nn.Module):
    """Maps (B, h, w) of several groups of levels -> one (B, g, g), evenly over the image; g is the finest's side."""

    def __init__(self, fused: Fused, shapes: Sequence[tuple[int, int]], cells: Sequence[Cells], side: int) -> None:
        super().__init__()
        self.fused, self.weights = fused, [float(shape[0]) for shape in shapes]
        self.side = max(shape[0] for shape in shapes)  # of the grid
        number, grid = (self.side, self.side), Cells.even(side, self.side)
        matrices = [reading_matrices(own, shape, grid, number) for own, shape in zip(cells, shapes, strict=True)]
        self.readings = nn.ModuleList(Reading(rows, columns) for rows, columns in matrices)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.fused([read(level) for read, level in zip(self.readings, levels, strict=True)], self.weights)


def drawing(grid: int, size: int, sigma: float) -> Reading:
    """Return the module that draws grids (B, g, g) as maps (B, size, size): enlarged and blurred."""
    return Reading(*drawing_matrices((grid, grid), size, sigma))


class MapGraph(DetectorGraph):
    """A method that compares patches: scores (B,) and maps (B, H, H), H the run's `image_size`."""

    outputs = ("scores", "maps")

    def __init__(self, model: PatchModel) -> None:
        super().__init__(model.side, dataclasses.replace(model.network.preprocessing, crop=1.0))
        self.model, self.method = model, graph_of_method(model.method)
        raw = model.patches([np.zeros((model.side, model.side, 3), np.uint8)])
        shapes = [(group.shape[1], group.shape[2]) for group in raw.groups]
        cells = model.group_cells()
        self.first = max(0, len(shapes) - (model.method.deepest or len(shapes)))  # of the groups that score
        self.fuse = Fusing(self.method.fused, shapes, cells, model.side)
        self.fuse_deep = Fusing(self.method.fused, shapes[self.first :], cells[self.first :], model.side)
        self.draw = drawing(self.fuse.side, model.image_size, float(model.options["sigma"]))
        self.scales = [float(scale) for scale in model.scales]
        inside = model.inside([np.zeros((1, *shape)) for shape in shapes])
        self.inside = (
            None
            if model.region is None or inside is None
            else InsideGraph(
                model.region,
                inside,
                self.fuse.side,
                self.fuse_deep.side,
                model.image_size,
                float(model.options["sigma"]),
            )
        )
        self.views = None if model.normal_views is None else model.normal_views.tolist()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raw, pooled = self.model.patches_of(self.normalised(images))
        groups = [space.in_space(patches) for space, patches in zip(self.model.spaces, raw, strict=True)]
        if pooled is not None and self.model.pooled_norm is not None:
            pooled = self.model.pooled_norm(pooled)
        distances = self.method.compare(groups, pooled)  # (B, h, w) of each group
        levels = [nearest / scale for nearest, scale in zip(distances, self.scales, strict=True)]
        means = [level.mean(dim=(1, 2)) for level in levels]
        if self.inside is not None:
            means, levels = self.inside.means(levels), self.inside.filled(levels)
            distances = self.inside.alone(distances)
        deep = self.fuse_deep(levels[self.first :])
        if self.inside is not None:
            deep = self.inside.scored(deep)
        scores = self.method.image_scores(deep, distances[self.first :], groups[self.first :], pooled)
        if self.views is not None:
            (part, whole), (part_spread, whole_spread) = self.views
            mean = torch.stack(means[self.first :]).mean(dim=0)
            scores = torch.maximum((scores - part) / part_spread, (mean - whole) / whole_spread)
        grids = self.fuse(levels)
        if self.inside is None:
            return scores, self.draw(grids)
        return scores, self.inside.cut(self.draw(self.inside.marked(grids)))
