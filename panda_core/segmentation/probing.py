"""Where the cells of a network's stages lie, measured: dots are drawn into noise, and each stage says where they are.

Paddings alone do not tell. TensorFlow pads the far side by one more, which moves the center of a cell of stride s by
(s - 1) / 2 pixels to the right; kernels trained with flipped images have learned to lean the other way and undo it, but
not all of it in every stage (blocks.5 of EfficientNet-Lite2: 8 pixels of 32 are left). A ResNet pads evenly, so that
its first cell is centerd on the corner of the image until its kernels have learned to lean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.segmentation.geometry import Cells

SIDE = 224  # of the image probed, unless maps are larger; in smaller ones the border cuts off what deep cells see
DOTS = 16  # with 128 the places move by less than a tenth of a pixel in fine levels, by a quarter in deep ones
SHIFT = 7  # columns from one dot to the next: a lattice, evenly spread over each axis and over cells of every level
RADIUS = 4.0  # of a dot, in pixels
CONTRAST = (
    2.0  # of dots: about black and white in the network's input. With 1.0 maps of dark marks lay 0.4 px of 128 off
)
NOISE = 0.3  # spread of the background in the network's input; photographs give the same centers within half a pixel
TOGETHER = 4  # images at once, as many as a run looks at
CELLS = "cells"  # the name under which a model saves them


@torch.inference_mode()
def find_cells(network: Network, levels: Sequence[str], side: int, device: torch.device) -> tuple[Cells, ...]:
    """Return the cells of the maps of stages `levels` of images of `side` pixels, a multiple of 32.

    A cell's place is the mean place of dots weighted by the square of the change that each makes to it. The patches of
    a transformer divide the image evenly, and their tokens stay at their places: nothing is to be measured.
    """
    if network.patch:
        return tuple(Cells.even(side, side // network.patch) for _ in levels)
    side = max(side, SIDE)
    generator = torch.Generator().manual_seed(0)
    ground = torch.randn(1, 3, side, side, generator=generator) * NOISE
    maps = network.stage_maps(ground.to(device), levels)
    strides = [2 ** round(math.log2(side / level.shape[-1])) for level in maps]  # paddings can add or cost a cell
    dots = _dots(side, max(strides))  # (N, 2)
    seen = [[] for _ in levels]  # type: list[list[Tensor]]
    for start in range(0, len(dots), TOGETHER):
        drawn = _drawn(ground[0], dots[start : start + TOGETHER])
        for places, before, after in zip(seen, maps, network.stage_maps(drawn.to(device), levels), strict=True):
            places.append(_centroids((after - before).square().sum(dim=1).double().cpu()))
    return tuple(_fitted(stride, dots, torch.cat(places).numpy()) for stride, places in zip(strides, seen, strict=True))


def cells_tensor(cells: Sequence[Cells]) -> Tensor:
    """Return cells as float64 (L, 3), for saving: stride, and row and column of the first cell, of each level."""
    return torch.tensor([[level.stride, *level.first] for level in cells], dtype=torch.float64)


def cells_of(saved: Tensor) -> tuple[Cells, ...]:
    """Return the cells that `cells_tensor` returned (L, 3)."""
    return tuple(Cells(stride, (row, column)) for stride, row, column in saved.tolist())


def _dots(side: int, stride: int) -> np.ndarray:
    """Return centers (N, 2) of dots that lie evenly over a cell in the middle of an image, no two in one row."""
    numbers = np.arange(DOTS)
    phases = (np.column_stack([numbers, numbers * SHIFT % DOTS]) + 0.5) / DOTS  # (N, 2), in (0, 1)
    return side // 2 // stride * stride + stride * phases


def _drawn(ground: Tensor, dots: np.ndarray) -> Tensor:
    """Return copies (B, 3, S, S) of an image (3, S, S), each with a dot, by turns white and black."""
    centers = np.arange(ground.shape[-1]) + 0.5
    away = np.hypot(centers[:, None] - dots[:, 0, None, None], centers - dots[:, 1, None, None])  # (B, S, S)
    values = torch.tensor([CONTRAST, -CONTRAST]).repeat(len(dots) // 2 + 1)[: len(dots), None, None, None]
    return torch.where(torch.from_numpy(away < RADIUS)[:, None], values, ground)


def _centroids(change: Tensor) -> Tensor:
    """Return the mean place (B, 2), in cells from the first, of changes (B, h, w); NaN where nothing changed."""
    rows, columns = (torch.arange(count, dtype=change.dtype) for count in change.shape[1:])
    total = change.sum(dim=(1, 2))
    return torch.stack([change.sum(dim=2) @ rows / total, change.sum(dim=1) @ columns / total], dim=1)


def _fitted(stride: int, dots: np.ndarray, places: np.ndarray) -> Cells:
    """Return the cells for which dots (N, 2), in pixels, are on average at places (N, 2), in cells."""
    known = np.isfinite(places).all(axis=1)
    if not known.any():  # a collapsed network sees no dot
        return Cells(float(stride), (stride / 2, stride / 2))
    first = (dots[known] - stride * places[known]).mean(axis=0)
    return Cells(float(stride), (round(float(first[0]), 2), round(float(first[1]), 2)))
