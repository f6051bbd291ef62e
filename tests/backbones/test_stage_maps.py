"""The outputs of single stages: those of the network as it is now, adapted or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from panda_core.backbones import find_backbone, timm_loading
from panda_core.errors import UsageError


def hooked(network: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the outputs of all seven stages of timm's own network, as its forward pass leaves them."""
    found: list[torch.Tensor] = []
    hooks = [stage.register_forward_hook(lambda _m, _i, output: found.append(output)) for stage in network.blocks]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("side", [64, 75])
def test_stages_are_timms(number: int, side: int, whole: Callable[[int], Any]) -> None:
    """A stage counted from 1, BatchNorm folded wrongly, or padding that differs for odd sides."""
    network = find_backbone(f"efficientnet_lite{number}").load("blocks.4")
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert network.stages == tuple(f"blocks.{stage}" for stage in range(7))
    with torch.no_grad():
        found = network.stage_maps(x, network.stages)
    for ours, timms in zip(found, hooked(whole(number), x), strict=True):
        torch.testing.assert_close(ours, timms, rtol=1e-4, atol=1e-4)


def test_stages_come_in_the_order_asked_for(images: torch.Tensor) -> None:
    """Two levels swapped, because the deeper was named first."""
    network = find_backbone("efficientnet_lite0").load("blocks.4")
    with torch.no_grad():
        deep, shallow = network.stage_maps(images, ("blocks.5", "blocks.2"))
        (alone,) = network.stage_maps(images, ("blocks.5",))
    assert (deep.shape[-1], shallow.shape[-1]) == (2, 8)
    torch.testing.assert_close(alone, deep)
    assert set(network.levels) <= set(network.stages)


@pytest.mark.parametrize("cut", ["blocks.2", "blocks.4"])
def test_an_adapted_tail_changes_the_stages_after_the_cut(cut: str, images: torch.Tensor) -> None:
    """Maps of the pretrained network for every checkpoint: stages that keep weights of their own."""
    network = find_backbone("efficientnet_lite0").load(cut)
    adapted = {name: value * 1.1 for name, value in network.tail.named_parameters()}
    with torch.no_grad():
        before = network.stage_maps(images, network.stages)
        network.tail.load_state_dict(adapted, strict=False)
        after = network.stage_maps(images, network.stages)
    changed = [not torch.allclose(a, b, rtol=1e-3) for a, b in zip(after, before, strict=True)]
    assert changed == [stage > cut for stage in network.stages]


@pytest.fixture(scope="module")
def resnet() -> Any:
    """Return a ResNet-18 with random weights."""
    torch.manual_seed(0)
    return timm_loading.load("resnet18", "", pretrained=False)


def test_a_resnet_gives_the_papers_levels(resnet: Any, images: torch.Tensor) -> None:
    """Other levels than PatchCore's, or of another shape."""
    assert resnet.levels == ("layer2", "layer3")
    with torch.no_grad():
        maps = resnet.stage_maps(images, ("layer3", "layer1", "layer2"))
    assert [tuple(level.shape[1:]) for level in maps] == [(256, 4, 4), (64, 16, 16), (128, 8, 8)]
    assert resnet.stages == ("act1", "layer1", "layer2", "layer3", "layer4")


def test_an_adapted_resnet_changes_after_the_cut(resnet: Any, images: torch.Tensor) -> None:
    """A traced tail whose weights are copies, so that maps never move."""
    given = {name: value.clone() for name, value in resnet.tail.named_parameters()}
    with torch.no_grad():
        before = resnet.stage_maps(images, ("layer2", "layer3"))
        resnet.tail.load_state_dict({name: value * 1.1 for name, value in given.items()}, strict=False)
        after = resnet.stage_maps(images, ("layer2", "layer3"))
        resnet.tail.load_state_dict(given, strict=False)
    assert torch.equal(after[0], before[0]) and not torch.allclose(after[1], before[1])


@pytest.mark.parametrize("stage", ["global_pool", "fc"])
def test_a_stage_without_a_map_is_one_sentence(resnet: Any, images: torch.Tensor, stage: str) -> None:
    """A KeyError for a module that is not run, or a pooled feature compared as one patch."""
    with pytest.raises(UsageError, match=rf"Stage `{stage}` of this network gives no map.*--set levels="):
        resnet.stage_maps(images, ("layer2", stage))
    assert not any(module._forward_hooks for module in resnet.tail.modules()), "nothing is left hanging"


@pytest.mark.parametrize(("name", "side"), [("mobilenetv3_small_050", 64), ("convnext_atto", 64)])
def test_other_networks_name_levels_that_are_maps(name: str, side: int) -> None:
    """Default levels that the network does not have, or that are of the same size."""
    torch.manual_seed(0)
    network = timm_loading.load(name, "", pretrained=False)
    assert set(network.levels) <= set(network.stages)
    with torch.no_grad():
        maps = network.stage_maps(torch.zeros(1, 3, side, side), network.levels)
    assert [level.shape[-1] for level in maps] == [side // 8, side // 16]


def test_channels_come_before_rows_in_every_family() -> None:
    """A network that keeps channels last, its columns compared as channels and its channels as columns."""
    torch.manual_seed(0)
    network = timm_loading.load("swin_tiny_patch4_window7_224", "", pretrained=False)
    with torch.no_grad():
        maps = network.stage_maps(torch.zeros(1, 3, 224, 224), network.levels)
    assert [tuple(level.shape) for level in maps] == [(1, 192, 28, 28), (1, 384, 14, 14)]
