"""How likely a residual is at its place in the image: a normalising flow on single positions, built with FrEIA.

CFLOW's form (Gudovskiy, Ishizaka, Kozuka, WACV 2022), which ResAD takes over: all-in-one coupling blocks with a
sine-cosine code of the position as their condition. The released code has 10 blocks and a code of 256; the defaults
here are smaller, for processors.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

CLAMP = 1.9


class PositionFlow(nn.Module):
    """A flow on vectors (N, D) with conditions (N, P)."""

    def __init__(self, width: int, *, blocks: int, condition: int, seed: int) -> None:
        from FrEIA.framework import SequenceINN  # takes half a second to import, and most runs have no flow
        from FrEIA.modules import AllInOneBlock

        super().__init__()
        self.width = width
        self.chain = SequenceINN(width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for number in range(blocks):
                self.chain.append(
                    AllInOneBlock,
                    cond=0,
                    cond_shape=(condition,),
                    subnet_constructor=_subnet,
                    affine_clamping=CLAMP,
                    global_affine_type="SOFTPLUS",
                    permute_soft=False,  # FrEIA draws these from numpy's global state; see below
                )
                turn = torch.from_numpy(_rotation(width, np.random.default_rng([seed, number])))
                block = self.chain[number]
                block.w_perm.data.copy_(turn)
                block.w_perm_inv.data.copy_(turn.T)

    def forward(self, x: Tensor, condition: Tensor, *, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """Return z (N, D) of x (N, D) and log |det dz/dx| (N,); with `inverse` x of z."""
        z, log_det = self.chain(x, c=[condition], rev=inverse)
        return z, log_det

    def log_likelihoods(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p per dimension of x (N, D), (N,) each: with a normal center at 0, an abnormal one at all ones."""
        z, log_det = self(x, condition)
        constant = log_det - self.width / 2 * math.log(2 * math.pi)
        normal, abnormal = ((constant - 0.5 * (z - center).square().sum(dim=1)) / self.width for center in (0, 1))
        return normal, abnormal


def position_code(side: tuple[int, int], width: int) -> Tensor:
    """Return the code (h, w, width) of each place of a grid: sines and cosines of its row and its column.

    As Vaswani et al. 2017 have it, half of the code for each of the two axes; `width` is a multiple of 4.
    """
    rates = torch.exp(torch.arange(0, width // 2, 2) * (-math.log(10_000.0) / (width // 2)))  # (width / 4,)
    codes = []
    for axis, length in enumerate(side):
        angles = torch.arange(length)[:, None] * rates  # (length, width / 4)
        code = torch.cat([angles.sin(), angles.cos()], dim=1)
        code = code[:, None] if axis == 0 else code[None]
        codes.append(code.expand(*side, width // 2))
    return torch.cat(codes, dim=2)


def _subnet(wide_in: int, wide_out: int) -> nn.Module:
    """Return the network that gives a coupling's scales and shifts, twice as wide inside as what it gives."""
    return nn.Sequential(nn.Linear(wide_in, 2 * wide_out), nn.ReLU(), nn.Linear(2 * wide_out, wide_out))


def _rotation(width: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random rotation (width, width), float32: FrEIA's soft permutation, drawn from `rng`."""
    q, r = np.linalg.qr(rng.standard_normal((width, width)))
    q *= np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return q.astype(np.float32)
