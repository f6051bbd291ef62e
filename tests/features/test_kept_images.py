"""What the cache does where a run is large: images in place of activations, and nothing taken from who reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from panda_core.features import cache
from tests.features.test_cache import entries


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_kept_images_give_the_same_activations(
    fill: Callable[..., Any], make_images: Callable[..., Any], tiny_network: Callable[..., Any], dtype: str
) -> None:
    """Activations that depend on whether they or their images were kept; rows that are not an array's."""
    images = make_images(9, broken=(4,))
    _, activations = fill(images, dtype=dtype)
    _, kept = fill(images, dtype=dtype, form=cache.IMAGES)
    assert len(kept.values) == 8 and kept.values.shape == activations.values.shape
    assert kept.values.dtype == activations.values.dtype and kept.image_rows.tolist() == activations.image_rows.tolist()
    for rows in ([0], [7, 2, 2], np.arange(8), np.arange(8) > 3, np.arange(0)):
        np.testing.assert_array_equal(kept.values[rows], activations.values[rows])
    loads = images.loads
    fill(images, dtype=dtype, form=cache.IMAGES, network=tiny_network(weights_sha256="1" * 64))
    assert images.loads == loads + 1  # found again for any weights: the one that is broken is asked why


def test_images_are_kept_where_activations_do_not_fit(
    tiny_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that holds one run and finds nothing of it again; images in place of activations that are smaller."""
    network, device = tiny_network(), torch.device("cpu")
    with torch.inference_mode():
        one = network.trunk(torch.zeros(1, 3, 32, 32)).numel()
    count = 1000

    def form(network: Any = network, dtype: str = "float16") -> tuple[str, str | None]:
        return cache.form_that_fits(network, count, image_size=32, dtype=dtype, device=device)

    large = tiny_network()
    large.trunk = torch.nn.Upsample(scale_factor=4)
    monkeypatch.setenv("PANDA_CACHE_GB", str(2 * one * count / 1e9))
    assert form() == (cache.ACTIVATIONS, None)
    chosen, told = form(large)
    assert chosen == cache.IMAGES and told is not None and "the images are kept instead (0.0 GB)" in told
    assert f"PANDA_CACHE_GB={-(-count * 3 * 128 * 128 * 2 // 10**9)} " in told
    monkeypatch.setenv("PANDA_CACHE_GB", "0.000001")
    assert "do not fit either" in str(form(large)[1])
    if 2 * one <= 3 * 32 * 32:
        assert form() == (cache.ACTIVATIONS, None)  # smaller than the images


@pytest.mark.skipif(cache.fcntl is None, reason="elsewhere a mapped file cannot be removed")
def test_what_is_read_is_not_removed(
    fill: Callable[..., Any], make_images: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that loses its training images to its test images, and finds neither when it is started again."""
    monkeypatch.setenv("PANDA_CACHE_GB", "0.000001")
    first, second, third = (make_images(20, seed=seed) for seed in range(3))
    _, train = fill(first)
    _, test = fill(second)
    assert len(entries(tmp_path / "cache")) == 2
    del train, test
    fill(third)
    assert len(entries(tmp_path / "cache")) == 1
