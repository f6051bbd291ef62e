"""Patch models of a tiny network, and images to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def model(tiny_backbone: str, tiny_network: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function (recipe, fields and options to change...) -> an unfitted `PatchModel` of the tiny network."""
    import torch

    from panda_core.config import RunConfig
    from panda_core.runs.data import GIVEN_IMAGES
    from panda_core.runs.kinds import resolve
    from panda_core.segmentation.model import PatchModel

    def make(
        recipe: str = "patchcore", feature_norm: str = "none", seed: int = 0, image_size: int = 32, **options: Any
    ) -> PatchModel:
        config = RunConfig(
            dataset=GIVEN_IMAGES,
            recipe=recipe,
            backbone=tiny_backbone,
            image_size=image_size,
            feature_norm=feature_norm,
            seed=seed,
            set=options,
        )
        return PatchModel(resolve(config), tiny_network(), ("first", "last"), torch.device("cpu"))

    return make


@pytest.fixture
def images() -> Callable[..., list[np.ndarray]]:
    """Return a function (count, seed) -> dark noisy images with a bright left half."""

    def make(count: int, seed: int = 0) -> list[np.ndarray]:
        several = np.random.default_rng(seed).integers(0, 60, (count, 32, 32, 3), dtype=np.uint8)
        several[:, :, :16] += 120
        return list(several)

    return make
