"""Bundled networks, loaded once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def whole() -> Callable[[int], Any]:
    """Return a function (0, 1 or 2) -> timm's own network with the bundled weights. Shared: do not train it."""
    from tests.backbones.timms_lite import timms_lite

    return cache(timms_lite)


@pytest.fixture
def images() -> torch.Tensor:
    """Return (3, 3, 64, 64) images of noise."""
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
