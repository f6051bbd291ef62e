"""The bundled networks: names, weights, cuts, folded BatchNorm, and what they know of ImageNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from panda_core.backbones import BACKBONES, Preprocessing, find_backbone
from panda_core.backbones.efficientnet_lite import CUTS, weights_file
from panda_core.backbones.lite_network import Tail, Trunk, block_prefixes, timm_name
from panda_core.datasets import imagenet_images
from panda_core.features.trunk import network_input, squared


@pytest.mark.parametrize("number", [0, 1, 2])
def test_names_map_one_to_one_onto_timms(number: int, whole: Callable[[int], Any]) -> None:
    """A weight loaded by position into its neighbour: every bundled name has one timm name, of the same shape."""
    bundled = torch.load(weights_file(number), map_location="cpu", weights_only=True)
    wanted = whole(number).state_dict()
    mapped = {timm_name(name, block_prefixes(wanted)): value for name, value in bundled.items()}
    assert len(mapped) == len(bundled)
    assert set(mapped) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(mapped[name], value), name


def plain_levels(network: Any, x: torch.Tensor) -> torch.Tensor:
    """Return what the tail should: pooled blocks.5, blocks.6 and head, by timm's own modules."""
    levels = []
    x = network.bn1(network.conv_stem(x))
    for place, stage in enumerate(network.blocks):
        x = stage(x)
        if place in (5, 6):
            levels.append(x.mean(dim=(2, 3)))
    levels.append(network.bn2(network.conv_head(x)).mean(dim=(2, 3)))
    return torch.cat(levels, dim=1)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("side", [64, 75])
def test_folded_forward_equals_timms(number: int, side: int, whole: Callable[[int], Any]) -> None:
    """BatchNorm folded with a wrong epsilon, or padding that differs for odd sides."""
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    network = whole(number)
    with torch.no_grad():
        expected = plain_levels(network, x)
        found = Tail(network, 3)(Trunk(network, 3)(x))
        logits = network.classifier(found[:, -network.num_features :])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits, network(x), rtol=1e-4, atol=1e-3)


def test_folded_gradients_equal_timms(whole: Callable[[int], Any], images: torch.Tensor) -> None:
    """Gradients of the folded weights that do not reach the convolution, the scale and the shift as they should."""
    network = whole(0)
    tail = Tail(network, 3).requires_grad_(True)
    parameters = dict(tail.named_parameters())
    try:
        weights = torch.randn(192 + 320 + 1280, generator=torch.Generator().manual_seed(2))
        gradients = []
        for features in (tail(Trunk(network, 3)(images)), plain_levels(network, images)):
            gradients.append(torch.autograd.grad((features @ weights).sum(), list(parameters.values())))
    finally:
        tail.requires_grad_(False)
    for name, folded, plain in zip(parameters, *gradients, strict=True):
        scale = plain.abs().max().clamp(min=1e-6)
        assert ((folded - plain).abs().max() / scale).item() < 2e-3, name


@pytest.mark.parametrize("cut", CUTS)
def test_trunk_then_tail_is_the_whole_network(cut: str, whole: Callable[[int], Any], images: torch.Tensor) -> None:
    """A stage run twice or not at all at one of the cuts; also the widths that the row promises."""
    network = find_backbone("efficientnet_lite0").load(cut)
    with torch.no_grad():
        features = network.tail(network.trunk(images))
        torch.testing.assert_close(features, plain_levels(whole(0), images), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network.logits(features), whole(0)(images), rtol=1e-4, atol=1e-3)
    assert features.shape[1] == sum(network.level_widths)
    assert network.cut == cut
    if cut == "input":  # the trunk is nothing, and the stem is adapted as well
        assert torch.equal(network.trunk(images), images)
        assert {"first.conv_stem.weight"} <= set(dict(network.tail.named_parameters()))
        return
    in_trunk = {f"blocks.{stage}" for stage in range(int(cut[-1]) + 1)}
    in_tail = {f"blocks.{name.split('.')[1]}" for name, _ in network.tail.named_parameters() if "blocks" in name}
    assert in_trunk | in_tail == {f"blocks.{stage}" for stage in range(7)} and not in_trunk & in_tail


@pytest.mark.parametrize("key", sorted(BACKBONES))
def test_a_loaded_network_is_frozen_and_in_evaluation_mode(key: str) -> None:
    """BatchNorm statistics that drift because a part was left in training mode."""
    network = BACKBONES[key].load(BACKBONES[key].cut)
    assert (network.classifier is not None) == BACKBONES[key].pretrained
    for part in filter(None, (network.trunk, network.tail, network.classifier)):
        assert not any(module.training for module in part.modules())
        assert not any(parameter.requires_grad for parameter in part.parameters())
    assert len(network.weights_sha256) == 64


def test_weights_of_one_package_tell_the_others_apart() -> None:
    """Two networks with one digest, hence with one cache entry."""
    digests = {row.load(row.cut).weights_sha256 for row in BACKBONES.values()}
    assert len(digests) == len(BACKBONES)


# The networks' own preparation. On all 1,000 images, which were seen in training, they reach 88.3, 89.9 and 90.8 % at
# full size, and 86.9, 87.7 and 86.5 % (timm's own preparation: 87.6 for the second) at a short side of 256 pixels.
@pytest.mark.parametrize(("number", "side", "crop"), [(0, 224, 0.875), (1, 240, 0.882), (2, 260, 0.89)])
def test_bundled_weights_know_imagenet(
    number: int, side: int, crop: float, whole: Callable[[int], Any], real_data: Path
) -> None:
    """Weights loaded into the wrong places, channels swapped, or another normalisation: accuracy falls at once."""
    labelled = imagenet_images(real_data)
    if labelled is None:
        pytest.skip("real data: imagenet_sample/ is not in the data folder")
    preparation = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", crop)
    rows = range(0, len(labelled.images), 10)
    hits = 0
    for start in range(0, len(rows), 25):
        batch = rows[start : start + 25]
        views = np.stack([squared(labelled.images.load(row), side, preparation) for row in batch])
        with torch.inference_mode():
            found = whole(number)(network_input(views, preparation)).argmax(dim=1).numpy()
        hits += int((found == labelled.labels[batch]).sum())
    assert 100 * hits / len(rows) >= 80  # a tenth of the images: two standard errors less


def test_the_first_channel_is_red() -> None:
    """Preprocessing that hands over BGR, as OpenCV reads images."""
    preparation = find_backbone("efficientnet_lite0").load("blocks.2").preprocessing
    red = np.asarray(Image.new("RGB", (40, 40), (255, 0, 0)))
    batch = network_input(np.stack([squared(red, 32, preparation)]), preparation)
    assert batch[0, 0].min() == 1.0
    assert batch[0, 1:].max() == -1.0
