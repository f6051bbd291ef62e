"""The measured places of cells: of networks whose geometry is known, and of those whose kernels lean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from panda_core.backbones import find_backbone
from panda_core.segmentation.probing import find_cells

CPU = torch.device("cpu")


class Windows:
    """A network of one level: means of windows, whose centers are known."""

    patch = None

    def __init__(self, window: int, stride: int, padding: int) -> None:
        self.pool = nn.AvgPool2d(window, stride, padding)
        self.first = window / 2 - padding

    def stage_maps(self, x: Tensor, stages: tuple[str, ...]) -> list[Tensor]:
        return [self.pool(x) for _ in stages]


@given(st.sampled_from([4, 8, 16, 32]), st.integers(1, 2), st.integers(0, 2))
@settings(max_examples=12, deadline=None)
def test_cells_are_where_windows_are(stride: int, wide: int, padded: int) -> None:
    """Paddings left out of account: cells half a window away from where they look."""
    network = Windows(wide * stride, stride, padded * wide * stride // 4)
    (cells,) = find_cells(network, ("only",), 96, CPU)  # type: ignore[arg-type]
    assert cells.stride == stride
    np.testing.assert_allclose(cells.first, network.first, atol=0.06 * stride)


def flipped(network: Any) -> Any:
    """Return the network that sees every image flipped and flips its maps back."""

    def stage_maps(x: Tensor, stages: tuple[str, ...]) -> list[Tensor]:
        return [level.flip(-1) for level in network.stage_maps(x.flip(-1), stages)]

    return dataclasses.replace(network, stage_maps=stage_maps)


@pytest.mark.parametrize("key", ["efficientnet_lite0", "efficientnet_lite2"])
def test_a_flipped_network_has_flipped_cells(key: str) -> None:
    """A place that is the probe's and not the network's: columns must lean the other way, rows stay."""
    network = find_backbone(key).load("blocks.4")
    straight = find_cells(network, network.levels, 224, CPU)
    turned = find_cells(flipped(network), network.levels, 224, CPU)
    for cells, other in zip(straight, turned, strict=True):
        count = 224 // int(cells.stride)
        last = cells.first[1] + cells.stride * (count - 1)
        assert other.first[0] == pytest.approx(cells.first[0], abs=0.06 * cells.stride)
        assert 224 - other.first[1] == pytest.approx(last, abs=0.06 * cells.stride)


def test_deep_cells_of_a_bundled_network_lean() -> None:
    """An even division assumed: blocks.5 of Lite2 looks 8 pixels right and below, and its maps lay as far off."""
    network = find_backbone("efficientnet_lite2").load("blocks.4")
    fine, *_, deep = find_cells(network, network.levels, 224, CPU)
    assert (fine.stride, deep.stride) == (8, 32)
    np.testing.assert_allclose(fine.first, 4, atol=0.6)
    assert min(deep.first) > 20


def test_a_network_that_sees_nothing_is_divided_evenly(tiny_network: Callable[..., Any]) -> None:
    """NaN for every map of a collapsed network, whose features are the same everywhere."""
    network = tiny_network(stage_maps=lambda x, stages: [torch.zeros(len(x), 4, 14, 14) for _ in stages])
    (cells,) = find_cells(network, ("only",), 224, CPU)
    assert (cells.stride, cells.first) == (16, (8, 8))
