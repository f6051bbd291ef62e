"""An untrained model of a tiny network, and images to judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def model(tiny_backbone: str, tiny_network: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function (options to change...) -> an untrained `ResidualModel` of the tiny network."""
    import torch

    from panda_core.config import RunConfig
    from panda_core.few_shot.model import ResidualModel
    from panda_core.runs.kinds import resolve

    def make(seed: int = 0, **options: Any) -> ResidualModel:
        config = RunConfig(
            dataset="digits",
            normal_class="3",
            recipe="resad",
            backbone=tiny_backbone,
            image_size=32,
            seed=seed,
            set={"seen": "4@digits", **options},
        )
        return ResidualModel(resolve(config), tiny_network(), ("first", "last"), torch.device("cpu"))

    return make


@pytest.fixture
def images() -> Callable[..., list[np.ndarray]]:
    """Return a function (count, seed) -> dark noisy images with a bright left half."""

    def make(count: int, seed: int = 0) -> list[np.ndarray]:
        several = np.random.default_rng(seed).integers(0, 60, (count, 32, 32, 3), dtype=np.uint8)
        several[:, :, :16] += 120
        return list(several)

    return make
