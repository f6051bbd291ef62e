"""A small residual network for small images, trained from random numbers.

Hendrycks et al. take a ResNet-18 with attention for ImageNet and a Wide-ResNet-40-2 for CIFAR-10. This one costs a
thirtieth of the latter, so that two cores can train it in minutes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.backbones.backbone import Preprocessing
from panda_core.backbones.network import Network, untrained

WIDTHS = (32, 64, 128)  # of the three stages, at a half, a quarter and an eighth of the input side
# 2 x - 1, as in the released code.
CENTERED = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bilinear", crop=1.0)


class Block(nn.Module):
    """Two convolutions beside the identity, or beside a projection where the shape changes (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        changes = stride > 1 or before != after
        self.beside = nn.Conv2d(before, after, 1, stride=stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.beside(x))


class RotNet(nn.Module):
    """(B, 3, S, S) -> (B, 128), the average-pooled last stage."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        blocks, before = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            blocks += [Block(before, width, 1 if stage == 0 else 2)]
            before = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.blocks(F.relu(self.norm(self.stem(x))))
        return maps.mean(dim=(2, 3))


def load() -> Network:
    """Return the network with random weights."""
    return untrained(RotNet(), WIDTHS[-1], CENTERED)
