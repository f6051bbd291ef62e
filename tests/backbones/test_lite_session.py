"""The bundled networks without gradients, by onnxruntime: the same values as PyTorch's, and never of older weights."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch

from panda_core.backbones import find_backbone
from panda_core.backbones.efficientnet_lite import LEVELS
from panda_core.backbones.network import Network


def drawn(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def features(network: Network, x: torch.Tensor) -> list[torch.Tensor]:
    """Return activations, features and maps."""
    activations = network.trunk(x)
    return [activations, network.tail(activations), *network.stage_maps(x, LEVELS)]


@pytest.fixture
def network() -> Network:
    return find_backbone("efficientnet_lite0").load("blocks.4")


@pytest.mark.parametrize("key", ["efficientnet_lite0", "efficientnet_lite2", "efficientnet_lite_all"])
@pytest.mark.parametrize(("cut", "side"), [("blocks.4", 64), ("blocks.1", 75), ("input", 97)])
def test_it_equals_pytorch(key: str, cut: str, side: int) -> None:
    """Padding on the wrong side of an odd map, a missing ReLU6, a skip too many: all far above rounding."""
    network, x = find_backbone(key).load(cut), drawn(3, side)
    with torch.enable_grad():
        expected = features(network, x)  # with gradients, PyTorch computes
    with torch.inference_mode():
        found = features(network, x)
    assert any(not torch.equal(a, b) for a, b in zip(found, expected, strict=True))  # it is another program
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) < 1e-5 * float(b.abs().max())


def test_an_image_has_the_same_values_alone_as_among_others(network: Network) -> None:
    """A last digit that depends on the neighbours in a batch."""
    x = drawn(19, 96)  # in a session 21 of them go together
    with torch.no_grad():
        together = features(network, torch.cat([x, x]))
        for row in (0, 7, 18):
            for alone, all_of_them in zip(features(network, x[row : row + 1]), together, strict=True):
                assert torch.equal(alone[0], all_of_them[row])
                assert torch.equal(alone[0], all_of_them[row + 19])


def by_a_step(tail: torch.nn.Module, x: torch.Tensor) -> None:
    tail.requires_grad_(True)
    optimizer = torch.optim.SGD(tail.parameters(), lr=0.1)
    with torch.enable_grad():
        tail(x).square().mean().backward()
    optimizer.step()
    tail.requires_grad_(False)


def by_loading(tail: torch.nn.Module, x: torch.Tensor) -> None:
    with torch.inference_mode():  # as a checkpoint is loaded between two measurements
        tail.load_state_dict({name: value + (value.ndim > 0) * 0.01 for name, value in tail.state_dict().items()})


def by_another_parameter(tail: torch.nn.Module, x: torch.Tensor) -> None:
    norm = tail.get_submodule("bn2")
    norm.bias = torch.nn.Parameter(norm.bias.detach() + 0.5, requires_grad=False)  # type: ignore[operator,union-attr]


def by_statistics(tail: torch.nn.Module, x: torch.Tensor) -> None:
    tail.get_submodule("bn2").get_buffer("running_mean").add_(0.5)


@pytest.mark.parametrize("change", [by_a_step, by_loading, by_another_parameter, by_statistics])
def test_changed_weights_are_never_answered_with_the_old(
    network: Network, change: Callable[[torch.nn.Module, torch.Tensor], None]
) -> None:
    """A curve that stays flat, and a checkpoint whose scores are another's, because a session outlives its weights."""
    x = drawn(2, 64)
    with torch.no_grad():
        activations = network.trunk(x)
        before = network.tail(activations)
        kept = copy.deepcopy(network.tail)
    change(network.tail, activations)
    with torch.no_grad():
        after, maps = network.tail(activations), network.stage_maps(x, LEVELS)
        assert not torch.equal(after, before)
        assert torch.equal(kept(activations), before)
        with torch.enable_grad():
            expected, expected_maps = network.tail(activations), network.stage_maps(x, LEVELS)
    for found, wanted in zip([after, *maps], [expected, *expected_maps], strict=True):
        assert float((found - wanted).detach().abs().max()) < 1e-5 * float(wanted.detach().abs().max())


def test_a_copy_has_sessions_of_its_own(network: Network) -> None:
    """A copied tail that computes with the weights of the original, or cannot be copied or pickled at all."""
    x = drawn(1, 64)
    with torch.no_grad():
        activations = network.trunk(x)
        before = network.tail(activations)
        for copied in (copy.deepcopy(network.tail), pickle.loads(pickle.dumps(network.tail))):
            by_statistics(copied, x)
            assert not torch.equal(copied(activations), before)
        assert torch.equal(network.tail(activations), before)
