"""The pixels as they are, in place of a network: what a baseline without any knowledge of images gets."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from panda_core.backbones.backbone import Preprocessing
from panda_core.backbones.network import Network, untrained

# Pixel values 0 to 255 themselves: float16, the format of the cache, holds them exactly.
RAW = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255), interpolation="bilinear", crop=1.0)


class Pixels(nn.Module):
    """(B, 3, S, S) of values 0 to 255 -> (B, 3 S S) of values 0 to 1. It has nothing that could be trained."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) / 255


def load(side: int) -> Network:
    """Return the pixels of images of `side` x `side` as features (B, 3 side side)."""
    return dataclasses.replace(untrained(Pixels(), 3 * side * side, RAW), statistics_move=False)
