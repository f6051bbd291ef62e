"""How fast a network is on a device, measured with random images; and how large what it makes of an image is.

Weights do not matter for either, so that nothing is downloaded: a network of timm is measured with random ones.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable

import torch
from torch import Tensor

from panda_core.backbones import find_backbone
from panda_core.backbones.network import Network
from panda_core.backbones.timm_networks import PREFIX

PIXELS = 4 * 224 * 224  # at once on a processor, as `panda_core.features.trunk` has it; elsewhere the paper's batch
LARGEST_BATCH = 32
SECONDS = 1.0  # that are measured at least; a first batch that takes less does not count


@dataclasses.dataclass(frozen=True)
class Speed:
    """Images a second: through the trunk, forward through the tail, and forward and backward through it."""

    trunk: float
    forward: float
    training: float


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Numbers: of one image's activations after the trunk, of one image's features, and of the tail's weights."""

    activations: int
    features: int
    weights: int


@functools.lru_cache(maxsize=32)
def loaded(backbone: str, cut: str) -> Network:
    """Return a network as it is cut; a network of timm has random weights."""
    if backbone.startswith(PREFIX):
        from panda_core.backbones import timm_loading

        return timm_loading.load(backbone.removeprefix(PREFIX), cut, pretrained=False)
    return find_backbone(backbone).load(cut)


@functools.lru_cache(maxsize=32)
@torch.no_grad()
def sizes_of(backbone: str, cut: str, side: int) -> Sizes:
    """Return the sizes of a network for images of `side` pixels."""
    network = loaded(backbone, cut).to(torch.device("cpu"))
    activations = network.trunk(torch.zeros(1, 3, side, side))
    features = network.tail(activations)
    return Sizes(
        activations.numel(), features.numel(), sum(value.numel() for value in network.tail.state_dict().values())
    )


@functools.lru_cache(maxsize=32)
def speed_of(backbone: str, cut: str, side: int, device: torch.device) -> Speed:
    """Return the speed of a network on a device, by the clock: a busy machine is measured as busy."""
    network = loaded(backbone, cut).to(device)
    batch = min(LARGEST_BATCH, max(1, PIXELS // side**2)) if device.type == "cpu" else LARGEST_BATCH
    images = torch.rand(batch, 3, side, side, device=device)
    network.tail.requires_grad_(True)
    with torch.no_grad():
        activations = network.trunk(images)

    def trunk() -> Tensor:
        with torch.no_grad():
            values: Tensor = network.trunk(images)
        return values

    def forward() -> Tensor:
        with torch.no_grad():
            features: Tensor = network.tail(activations)
        return features

    def training() -> Tensor:
        features: Tensor = network.tail(activations)
        if features.requires_grad:  # a network without weights has nothing to train
            features.square().mean().backward()
        return features

    rates = [len(images) / _seconds(made) for made in (trunk, forward, training)]
    network.tail.requires_grad_(False)
    return Speed(*rates)


def _seconds(made: Callable[[], Tensor]) -> float:
    """Return the seconds that a call takes, its result waited for."""
    began = time.perf_counter()
    made().sum().item()
    if (spent := time.perf_counter() - began) >= SECONDS:  # nothing that is done once alone weighs beside it
        return spent
    began, calls = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < SECONDS:
        made().sum().item()
        calls += 1
    return spent / calls
