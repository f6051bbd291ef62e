"""Pretraining of DeepSVDD's network: an autoencoder learns to draw the normal images from 128 numbers.

The decoder mirrors the network and is thrown away afterwards. As in the released code: Adam at 1e-4, a tenth of it
after 5/7 of the way (250 of 350 epochs), batches of 200, weight decay 5e-7, squared error summed over an image.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.backbones.lenet import EPSILON, FEATURES, LeNet
from panda_core.backbones.network import start_anew
from panda_core.features import activation_batch
from panda_core.methods.learner import Setting, batch_rows

LR, WEIGHT_DECAY = 1e-4, 5e-7
MILESTONE = 5 / 7
STREAM = 8  # shuffles the images apart from the order of the steps that follow
WIDTHS = (FEATURES // 16, 128, 64, 32, 3)


class Decoder(nn.Module):
    """(B, 128) -> images (B, 3, 32, 32) in [0, 1]."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(FEATURES, eps=EPSILON, affine=bias)
        pairs = itertools.pairwise(WIDTHS)
        self.convolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, 5, padding=2, bias=bias) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=EPSILON, affine=bias) for width in WIDTHS[1:-1])

    def forward(self, features: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(features).view(len(features), WIDTHS[0], 4, 4))
        *earlier, last = self.convolutions
        for convolution, norm in zip(earlier, self.norms, strict=True):
            x = F.interpolate(F.leaky_relu(norm(convolution(x))), scale_factor=2)
        return torch.sigmoid(last(x))


def pretrain(tail: LeNet, values: np.ndarray, setting: Setting, epochs: int) -> Iterator[tuple[int, int]]:
    """Train `tail` to encode the normal images `values` (N, 3, 32, 32), yielding (steps done, all steps)."""
    decoder = start_anew(Decoder(bias=tail.last.bias is not None), setting.seed + 1).to(setting.device)
    parameters = [*tail.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=LR, weight_decay=WEIGHT_DECAY)
    rows = np.arange(len(values))
    total = epochs * -(-len(rows) // setting.batch_size)
    tail.train()
    for step in range(total):
        chosen = batch_rows(rows, setting.batch_size, setting.seed, step, STREAM)
        if len(chosen) == 1:  # BatchNorm knows no spread of a single image: it is shown twice
            chosen = chosen.repeat(2)
        images = tail.prepared(activation_batch(values, chosen, setting.device))
        loss = (decoder(tail.encoded(images)) - images).square().sum(dim=(1, 2, 3)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = LR if step < MILESTONE * total else 0.1 * LR
        optimiser.step()
        yield step + 1, total
    tail.eval()
