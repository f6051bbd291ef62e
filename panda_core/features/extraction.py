"""From cached activations to features, through the tail as it is now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.errors import StopRequested
from panda_core.features.normalisation import FeatureNorm

BATCH = 64  # larger batches fall out of the processor's cache and are slower on two cores


def activation_batch(values: np.ndarray, rows: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
    """Return rows of the cached activations (N, C, h, w) as float32 (B, C, h, w), channels last in memory."""
    batch = torch.from_numpy(np.asarray(values[rows], np.float32))
    return batch.to(device).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def tail_features(
    tail: nn.Module,
    values: np.ndarray,
    device: torch.device,
    *,
    batch: int = BATCH,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Return the tail's features (N, D) of cached activations (N, C, h, w), on the CPU.

    `should_stop` is asked before every batch; once true, `StopRequested` is raised.
    """
    parts = []
    for start in range(0, len(values), batch):
        if should_stop():
            raise StopRequested("Stopped on request.")
        rows = np.arange(start, min(start + batch, len(values)))
        parts.append(tail(activation_batch(values, rows, device)).cpu())
    return torch.cat(parts)


def space_features(
    tail: nn.Module,
    norm: FeatureNorm,
    values: np.ndarray,
    device: torch.device,
    *,
    batch: int = BATCH,
    should_stop: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Return features in the space of loss and scores: float32 (N, D'). As `tail_features`."""
    with torch.no_grad():
        return norm(tail_features(tail, values, device, batch=batch, should_stop=should_stop)).numpy()
