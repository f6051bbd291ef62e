"""What a flow is trained on: normal positions likely, abnormal ones beyond a boundary that follows the normals."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

QUANTILE = 0.05  # of the normals' log-likelihoods: the normal boundary
MARGIN = 0.1  # between the normal and the abnormal boundary
MOMENTUM = 0.9
FOCUS = 2.0  # gamma of the focal loss


class Boundary:
    """The running average of the 5 % quantile of normal log-likelihoods.

    It begins with the first value; the released code begins at 0, which is far from it for the first dozens of steps.
    """

    def __init__(self) -> None:
        self.value: float | None = None

    def update(self, normal: Tensor) -> float:
        """Take in the log-likelihoods (N,) of normal positions; return the boundary."""
        if len(normal):
            # Not torch.quantile, which refuses more than 16 million values.
            now = float(normal.detach().sort().values[int(QUANTILE * (len(normal) - 1))])
            self.value = now if self.value is None else MOMENTUM * self.value + (1 - MOMENTUM) * now
        return 0.0 if self.value is None else self.value


def likelihood_loss(normal: Tensor) -> Tensor:
    """Return -mean log sigmoid(p) of the log-likelihoods (N,), per dimension, of normal positions."""
    return _mean(-F.logsigmoid(normal))


def boundary_loss(likelihoods: Tensor, abnormal: Tensor, boundary: float) -> Tensor:
    """Return the loss of normals below the boundary and of abnormals above it less a margin (BGAD, CVPR 2023).

    likelihoods: p_n (N,). abnormal: (N,), bool.
    """
    normal, other, low = likelihoods[~abnormal], likelihoods[abnormal], boundary - MARGIN
    return _mean(-F.logsigmoid(normal[normal <= boundary] - boundary)) + _mean(-F.logsigmoid(low - other[other >= low]))


def two_center_loss(normal: Tensor, other: Tensor, abnormal: Tensor) -> Tensor:
    """Return ResAD++'s further terms: abnormals likely under their own center, and a focal loss between the two.

    normal, other: p_n and p_a (N,) of the same positions. abnormal: (N,), bool.
    """
    logs = torch.stack([normal, other], dim=1).log_softmax(dim=1)
    own = logs.gather(1, abnormal.long()[:, None])[:, 0]
    return _mean(-F.logsigmoid(other[abnormal])) + (-((1 - own.exp()) ** FOCUS) * own).mean()


def chunks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover all of `count`; the last is shorter.

    The released code drops what is left over: with its defaults, all positions of the deepest level.
    """
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _mean(values: Tensor) -> Tensor:
    return values.mean() if len(values) else values.sum()
