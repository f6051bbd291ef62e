"""The faster gradient of a depthwise convolution, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from panda_core.backbones import depthwise as module
from panda_core.backbones.depthwise import depthwise
from panda_core.backbones.efficientnet_lite import lite_backbone


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(4, 9),
    channels=st.integers(1, 70),
    kernel=st.sampled_from([5, 7]),
    stride=st.integers(1, 3),
    sides=st.tuples(st.integers(7, 14), st.integers(7, 14)),
    padding=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_the_output_has_the_same_bits_and_the_gradients_are_equal_up_to_rounding(
    images: int, channels: int, kernel: int, stride: int, sides: tuple[int, int], padding: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(images, channels, *sides, generator=draw)
    weight = torch.randn(channels, 1, kernel, kernel, generator=draw)
    bias = torch.randn(channels, generator=draw)
    slope = torch.randn(F.conv2d(x, weight, bias, stride, padding, groups=channels).shape, generator=draw)
    found, wanted = ([value.clone().requires_grad_(True) for value in (x, weight, bias)] for _ in range(2))
    y, expected = depthwise(*found, stride, padding), F.conv2d(*wanted, stride, padding, groups=channels)
    y.backward(slope)
    expected.backward(slope)
    assert torch.equal(y, expected)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5 * float(theirs.grad.abs().max()))


def test_a_network_is_trained_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = lite_backbone(0).load("blocks.4").tail.requires_grad_(True)
    activations = torch.randn(8, 112, 8, 8, generator=torch.Generator().manual_seed(0))

    def gradients() -> list[torch.Tensor]:
        tail.zero_grad()
        tail(activations).square().mean().backward()
        return [value.grad.clone() for value in tail.parameters() if value.grad is not None]

    calls = []
    original = module.slope_of_weight
    monkeypatch.setattr(module, "slope_of_weight", lambda *args: calls.append(args) or original(*args))
    ours = gradients()
    assert len(calls) == 4  # the blocks of stage 5, whose kernels are 5 x 5
    monkeypatch.setattr(module, "LARGE_KERNEL", 99)
    for found, expected in zip(ours, gradients(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
