"""From images to what the trunk makes of them: sizes, crops, channels, and batches that do not count."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from panda_core.backbones import Preprocessing
from panda_core.errors import PandaError
from panda_core.events import result_of
from panda_core.features.space import FeatureNorm, space_features, tail_features
from panda_core.features.trunk import activation_batch, network_input, squared, trunk_of

WHOLE = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 1.0)
PAPER = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 0.875)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("preparation", [WHOLE, PAPER])
@pytest.mark.parametrize("size", [(8, 8), (1, 1), (1, 900), (300, 17), (224, 224), (3000, 2000)])
def test_every_size_gives_the_square(preparation: Preprocessing, size: tuple[int, int]) -> None:
    """A border of black where the crop is larger than the image, or an error for tiny, long and huge ones."""
    view = squared(np.full((*size, 3), 200, np.uint8), 64, preparation)
    assert view.shape == (64, 64, 3) and view.dtype == np.uint8
    assert (view == 200).all()


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (256, 256), (31, 90)])
def test_the_papers_crop_is_torchvisions(size: tuple[int, int]) -> None:
    """Another crop than "short side to 256, center crop of 224": off by one row, or the long side resized."""
    from panda_core.torchvision_operators import load_timm

    load_timm()
    from torchvision.transforms import CenterCrop, Compose, Resize

    image = noise(*size)
    expected = Compose([Resize(256), CenterCrop(224)])(Image.fromarray(image))
    difference = np.abs(squared(image, 224, PAPER).astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= 1  # of 255, the rounding of two orders of the same resampling


def test_without_a_crop_nothing_is_cut_off() -> None:
    """A defect at the rim that the network never sees."""
    image = np.zeros((60, 120, 3), np.uint8)
    image[:, :6] = image[:, -6:] = 255
    view = squared(image, 40, WHOLE)
    assert (view[:, 0] > 200).all() and (view[:, -1] > 200).all()
    assert (view[:, 10:30] == 0).all()
    cut = squared(image, 40, dataclasses.replace(PAPER, crop=0.5))
    assert (cut == 0).all()


def test_an_image_of_the_right_size_is_untouched() -> None:
    """Resampling that blurs an image which has the size already."""
    image = noise(64, 64)
    np.testing.assert_array_equal(squared(image, 64, WHOLE), image)


def test_resampling_follows_the_weights() -> None:
    """One resampling for all networks."""
    image = noise(30, 30)
    kinds = ("nearest", "bilinear", "bicubic", "lanczos")
    views = [squared(image, 64, dataclasses.replace(WHOLE, interpolation=kind)).tobytes() for kind in kinds]
    assert len(set(views)) == len(kinds)
    assert squared(image, 64, dataclasses.replace(WHOLE, interpolation="random")).tobytes() == views[2]


def test_input_is_normalised_per_channel() -> None:
    """BGR, planes read as pixels, or the scale of 255 forgotten."""
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[0, 1, 2] = (255, 51, 0)
    batch = network_input(images, PAPER)
    assert batch.shape == (2, 3, 4, 4) and batch.dtype == torch.float32
    expected = [(1.0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    torch.testing.assert_close(batch[0, :, 1, 2], torch.tensor(expected))
    torch.testing.assert_close(batch[1, :, 0, 0], torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


def test_a_thin_long_image_costs_no_more_than_its_square() -> None:
    """A hostile image of one row, blown up to gigabytes before its center is cut out."""
    view = squared(np.full((1, 25_000_000, 3), 9, np.uint8), 224, PAPER)
    assert view.shape == (224, 224, 3) and (view == 9).all()


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


def test_activations_too_large_for_their_format_are_an_error(tiny_network: Callable[..., Any]) -> None:
    """A score that is no number, and so no higher than any threshold: "normal"."""
    network, seen = tiny_network(), noise(32, 32)[None]
    trunk = network.trunk
    large = dataclasses.replace(network, trunk=lambda x: 1e8 * trunk(x))
    assert np.isfinite(trunk_of(seen, large, dtype="float32", device=torch.device("cpu"))).all()
    with pytest.raises(PandaError, match=r"float16 does not hold. Set `--set cache_dtype=float32`"):
        trunk_of(seen, large, dtype="float16", device=torch.device("cpu"))
