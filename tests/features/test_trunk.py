"""Images to network input: sizes, crops, channels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from panda_core.backbones import Preprocessing
from panda_core.features.trunk import network_input, squared

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
