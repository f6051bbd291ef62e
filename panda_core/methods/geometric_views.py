"""The 36 views of MHRot: an image shifted by a quarter of its side across and down, or not, then turned.

Shift first and turn then, as in the released code for ImageNet: a head that names the shift must have understood how
the image is turned. What a shift uncovers shows the image mirrored at its edge. Shifts are 8 pixels of 32, as 56 of
224 in the paper.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = (0, -1, 1)  # quarters of the side, by the head's class
TURNS = (0, 1, 2, 3)  # quarter turns, counterclockwise
VIEWS = tuple(itertools.product(TURNS, STEPS, STEPS))  # (turns, across, down)
HEADS = (len(TURNS), len(STEPS), len(STEPS))
NAMES = ("rotation", "horizontal", "vertical")  # of the heads: the turn, the shift across, the shift down


def shifted(images: Tensor, across: int, down: int) -> Tensor:
    """Return images (B, C, S, S) moved right and down by so many quarters of their side."""
    side = images.shape[-1]
    step = side // 4
    padded = F.pad(images, (step, step, step, step), mode="reflect")
    top, left = step * (1 - down), step * (1 - across)
    return padded[..., top : top + side, left : left + side]


def view(images: Tensor, turns: int, across: int, down: int) -> Tensor:
    """Return one of the 36 views of images (B, C, S, S)."""
    return torch.rot90(shifted(images, across, down), turns, dims=(2, 3))


def classes(turns: int, across: int, down: int) -> tuple[int, int, int]:
    """Return what each of the three heads should say of a view."""
    return turns, STEPS.index(across), STEPS.index(down)
