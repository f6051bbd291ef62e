"""DeepSVDD's network for CIFAR-10: three convolutions and one matrix, trained from random numbers.

It has no bias: with one, the network could give its center for any image (Ruff et al. 2018, Prop. 2). PANDA's authors
report that biases do no harm; the variant with biases is a network of its own here. BatchNorm takes a bias before it
out again, so the variant has BatchNorm's own shift and scale as well.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.backbones.network import Network, untrained
from panda_core.backbones.pixels import RAW

WIDTHS = (3, 32, 64, 128)  # channels before and after each convolution
FEATURES = 128
EPSILON = 1e-4  # of BatchNorm, as released
CHUNK = 512


def contrast_normalised(x: Tensor) -> Tensor:
    """Return images (B, 3, S, S) minus their mean, over their mean absolute deviation: all pixels and channels alike.

    L1 global contrast normalisation of the released code; an image of a single colour becomes 0.
    """
    centered = x - x.mean(dim=(1, 2, 3), keepdim=True)
    return centered / centered.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


class LeNet(nn.Module):
    """(B, 3, 32, 32) of any constant scale -> (B, 128).

    low, high: smallest and largest normalised pixel of the normal training images; they make the input [0, 1] and are
    saved with the weights. The released code has them as ten pairs of constants, one for each class of CIFAR-10.
    """

    low: Tensor
    high: Tensor

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(WIDTHS))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5, padding=2, bias=bias) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=EPSILON, affine=bias) for width in WIDTHS[1:])
        self.last = nn.Linear(WIDTHS[-1] * 4 * 4, FEATURES, bias=bias)
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(1.0))

    def fit_range(self, values: np.ndarray) -> None:
        """Set `low` and `high` to those of normal images (N, 3, 32, 32)."""
        chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
        ranges = [contrast_normalised(torch.from_numpy(np.asarray(chunk, np.float32))).aminmax() for chunk in chunks]
        low, high = min(one.min for one in ranges), max(one.max for one in ranges)
        self.low.fill_(low)
        self.high.fill_(max(high, low + 1e-6))

    def prepared(self, x: Tensor) -> Tensor:
        """Return what the first convolution and the autoencoder see: (B, 3, 32, 32), in [0, 1] for normal images."""
        return (contrast_normalised(x) - self.low) / (self.high - self.low)

    def encoded(self, x: Tensor) -> Tensor:
        """Return the features (B, 128) of prepared images."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.max_pool2d(F.leaky_relu(norm(convolution(x))), 2)
        features: Tensor = self.last(x.flatten(1))
        return features

    def forward(self, x: Tensor) -> Tensor:
        return self.encoded(self.prepared(x))


def load(bias: bool) -> Network:
    """Return the network with random weights."""
    return untrained(LeNet(bias), FEATURES, RAW)
