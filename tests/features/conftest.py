"""A few images whose loading is counted, and one call that fills or reads the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from panda_core.datasets import ArrayImages
from panda_core.errors import UnreadableImage
from panda_core.features.cache import TrunkActivations, trunk_activations


class CountedImages:
    """Images that count how often one was decoded; those in `broken` cannot be."""

    def __init__(self, images: ArrayImages, broken: tuple[int, ...] = ()) -> None:
        self.images, self.broken, self.loads = images, broken, 0
        self.names = images.names

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> np.ndarray:
        self.loads += 1
        if index in self.broken:
            raise UnreadableImage(f"`{self.names[index]}` is damaged.")
        return self.images.load(index)

    def digest(self, index: int) -> bytes:
        return self.images.digest(index)


@pytest.fixture
def make_images() -> Callable[..., CountedImages]:
    """Return a function (count, seed=..., broken=...) -> noise images of several sizes."""

    def make(count: int, *, seed: int = 0, broken: tuple[int, ...] = ()) -> CountedImages:
        rng = np.random.default_rng(seed)
        sizes = [(20 + index % 3, 24, 3) for index in range(count)]
        arrays = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
        return CountedImages(ArrayImages(arrays, [f"image {index}" for index in range(count)]), broken)

    return make


@pytest.fixture
def fill(tiny_network: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[list[Any], TrunkActivations]]:
    """Return a function (images, ...) -> (all progress, the activations), with a cache of the test's own."""

    def call(images: Any, **changes: Any) -> tuple[list[Any], TrunkActivations]:
        options = {
            "network": tiny_network(),
            "split": "train",
            "image_size": 32,
            "dtype": "float16",
            "device": torch.device("cpu"),
            "cache_dir": tmp_path / "cache",
            **changes,
        }
        computing, events = trunk_activations(images, options.pop("network"), **options), list[Any]()
        while True:
            try:
                item = next(computing)
            except StopIteration as end:
                return events, end.value
            events += [] if item is None else [item]

    return call
