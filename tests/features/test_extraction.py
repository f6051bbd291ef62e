"""Features of cached activations: the same whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from panda_core.events import result_of
from panda_core.features.space import FeatureNorm, space_features, tail_features
from panda_core.features.trunk import activation_batch

CPU = torch.device("cpu")


@pytest.fixture
def activations() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(70, 4, 7, 7)).astype(np.float16)


def test_batch_size_changes_no_feature(tiny_network: Callable[..., Any], activations: np.ndarray) -> None:
    """Features that depend on their batch: statistics taken of it, or a last batch of one image squeezed away."""
    tail = tiny_network().tail
    whole = result_of(tail_features(tail, activations, CPU, batch=64))
    assert whole.shape == (70, 14)
    for batch in (1, 7, 69, 1000):
        torch.testing.assert_close(
            result_of(tail_features(tail, activations, CPU, batch=batch)), whole, rtol=1e-5, atol=1e-6
        )


def test_the_bundled_network_does_not_see_its_batch() -> None:
    """The same for the real network, batches of 1, 7 and 64, in the space of the scores."""
    from panda_core.backbones import find_backbone

    network = find_backbone("efficientnet_lite0").load("blocks.2")
    values = np.random.default_rng(1).normal(size=(66, 40, 4, 4)).astype(np.float16)
    norm = FeatureNorm.fit("whiten", result_of(tail_features(network.tail, values, CPU)), network.level_widths, 512)
    whole = result_of(space_features(network.tail, norm, values, CPU, batch=64))
    for batch in (1, 7):
        found = result_of(space_features(network.tail, norm, values, CPU, batch=batch))
        np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-4 * np.abs(whole).max())


def test_rows_are_taken_in_order(activations: np.ndarray) -> None:
    """Sorted or repeated rows that come back as a set; half precision handed to the network."""
    batch = activation_batch(activations, [5, 2, 5], CPU)
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch.numpy(), activations[[5, 2, 5]].astype(np.float32))
    batch += 1
    assert activations[5].max() < 6, "the cache must not be written through a batch"


def test_features_need_no_gradient(tiny_network: Callable[..., Any], activations: np.ndarray) -> None:
    """A graph kept for every evaluated image: memory that grows with the data."""
    tail = tiny_network().tail.requires_grad_(True)
    assert not result_of(tail_features(tail, activations, CPU)).requires_grad
    assert result_of(space_features(tail, FeatureNorm("l2", (6, 8)), activations, CPU)).dtype == np.float32
