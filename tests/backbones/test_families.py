"""Eight families of networks of timm: cut, levels, sizes and layouts. Weights are random: nothing is downloaded."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from panda_core import RunConfig
from panda_core.backbones import BACKBONES, find_backbone, timm_loading
from panda_core.backbones.outline import Stage, outline
from panda_core.errors import PandaError, UsageError
from panda_core.features.trunk import laid_out
from panda_core.runs.kinds import resolve
from tests.backbones.families import FAMILIES, register

register()
TOKENS = ("small_vit", "small_dinov2", "small_dinov3", "small_clip")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Any:
    """Return (name, network with random weights, timm's own network with the same)."""
    torch.manual_seed(0)
    network = timm_loading.load(request.param, "", pretrained=False)
    torch.manual_seed(0)
    return request.param, network, timm_loading.create(request.param, pretrained=False)


def pictures(side: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_every_family_has_its_defaults(family: Any) -> None:
    """A family that can only be used by someone who knows the names of its modules."""
    name, network, _ = family
    _, side, cut, levels, activations = FAMILIES[name]
    assert (network.cut, network.levels) == (cut, levels)
    assert set(levels) < set(network.stages) and network.stages[-1] not in levels
    assert tuple(network.trunk(pictures(side)).shape[1:]) == activations
    row = find_backbone(f"timm:{name}")
    assert row.levels == levels and row.takes(row.image_size or 0)
    assert (network.patch is not None) == (name in TOKENS)


def test_trunk_then_tail_is_the_whole_network(family: Any) -> None:
    """Class tokens, registers or positions lost at the cut; a cached activation whose layout the tail misreads."""
    name, network, whole = family
    side = FAMILIES[name][1]
    for seen in (side, side + 4 * (network.patch or 32)):  # positions are read between those that were learned
        x = pictures(seen)
        with torch.no_grad():
            cached = torch.from_numpy(network.trunk(x).numpy().copy())
            wanted = whole.forward_head(whole.forward_features(x), pre_logits=True)
            torch.testing.assert_close(network.tail(laid_out(cached)), wanted, rtol=1e-4, atol=1e-5)
    assert wanted.shape == (2, *network.level_widths) and float(wanted.std(dim=0).max()) > 1e-3


def test_the_last_blocks_alone_are_adapted(family: Any) -> None:
    """A trunk that is trained through parameters it shares with the tail, while its activations lie in a cache."""
    name, network, whole = family
    trunk, tail = ({id(value) for value in part.parameters()} for part in (network.trunk, network.tail))
    assert tail and not trunk & tail
    everything = sum(value.numel() for value in whole.parameters())
    part = sum(value.numel() for value in network.tail.parameters()) / everything
    assert part < 0.35 or name not in TOKENS


def test_a_planted_patch_peaks_at_its_place(family: Any) -> None:
    """Maps turned, or read in another layout: columns as channels, class tokens as patches, rows as columns."""
    name, network, _ = family
    side = FAMILIES[name][1]
    clean = pictures(side)[:1] * 0.1
    for place in ((0.25, 0.7), (0.7, 0.4)):  # of the side: not on the diagonal
        marked = clean.clone()
        top, left = (round(share * side) for share in place)
        marked[..., top - 8 : top + 8, left - 8 : left + 8] += 3.0
        with torch.no_grad():
            pairs = zip(
                network.stage_maps(clean, network.levels), network.stage_maps(marked, network.levels), strict=True
            )
        for before, after in pairs:
            change = (after - before).square().sum(dim=1)[0]  # (h, h)
            row, column = divmod(int(change.argmax()), change.shape[1])
            middle = [(number + 0.5) * side / len(change) for number in (row, column)]
            assert max(abs(middle[0] - top), abs(middle[1] - left)) <= 8 + side / len(change)


def test_maps_follow_the_adapted_tail(family: Any) -> None:
    """Maps of the pretrained network for every checkpoint: stages that keep weights of their own."""
    name, network, _ = family
    given = {key: value.clone() for key, value in network.tail.state_dict().items()}
    x = pictures(FAMILIES[name][1])
    with torch.no_grad():
        before = network.stage_maps(x, (network.cut, network.stages[-1]))
        network.tail.load_state_dict({key: value * 1.3 for key, value in network.tail.named_parameters()}, strict=False)
        after = network.stage_maps(x, (network.cut, network.stages[-1]))
        network.tail.load_state_dict(given)
    assert not torch.allclose(before[1], after[1], rtol=1e-3)
    if name not in TOKENS:  # tokens of every block pass the last norm, which is adapted
        assert torch.equal(before[0], after[0])


@pytest.mark.parametrize("shape", [(2, 12, 12, 8), (2, 8, 12), (2, 8, 16, 9), (2, 8)])
def test_a_map_in_another_layout_is_never_compared(shape: tuple[int, ...]) -> None:
    """Channels last read as a grid of 12 x 8 cells with 12 channels, and a score without a word."""
    stage = Stage("layers.1", 8, 8)
    timm_loading.check_map(stage, torch.zeros(2, 8, 12, 12), torch.zeros(2, 3, 96, 96))
    with pytest.raises(PandaError, match=r"`layers\.1` gives a map of shape .*not \(2, 8, h, h\)"):
        timm_loading.check_map(stage, torch.zeros(shape), torch.zeros(2, 3, 96, 96))


def test_the_class_token_is_what_dinov3_and_clip_give(family: Any) -> None:
    """A mean over patches where the field compares class tokens; a matrix for texts taken for a classifier."""
    name, network, whole = family
    if name not in TOKENS:
        return
    x = pictures(FAMILIES[name][1])
    with torch.no_grad():
        torch.testing.assert_close(network.tail(network.trunk(x)), whole.fc_norm(whole.forward_features(x)[:, 0]))


def test_a_clip_tower_has_no_classifier() -> None:
    """Elastic weights from the Fisher information of 512 directions that are no classes."""
    assert timm_loading._classifier(outline("vit_base_patch32_clip_224.openai").network) is None
    assert timm_loading._classifier(outline("resnet10t").network) is not None


@pytest.mark.parametrize(
    ("name", "recipe", "size", "told"),
    [
        ("small_dinov2", "frozen", 225, "must be 224 or 238, the nearest it takes; got 225.*--image-size 224"),
        ("small_vit", "panda-early", 100, "must be 96 or 112,"),
        ("small_swin", "frozen", 130, "must be 128 or 132,"),
        # Maps are made at multiples of 32, of which few are multiples of 14.
        ("small_dinov2", "patchcore", 250, "must be 224, the nearest it takes; got 250"),
        ("small_dinov2", "patchcore", 392, "must be 448, the nearest it takes; got 392"),
        ("mixer_s32_224", "frozen", 256, "must be 224, the nearest it takes; got 256"),
        ("beit_base_patch16_224", "frozen", 900, "must be 224, the only one it takes; got 900"),
    ],
)
def test_sizes_that_a_network_cannot_take_are_one_sentence(name: str, recipe: str, size: int, told: str) -> None:
    """A traceback of an assertion inside the network, after the data was read; padding that shifts a map."""
    with pytest.raises(UsageError, match=told):
        resolve(RunConfig(backbone=f"timm:{name}", recipe=recipe, image_size=size))


def test_a_large_transformer_is_used_at_a_usual_size() -> None:
    """518 px, at which DINOv2 ends, by default: six times the computation of the size it is compared at."""
    assert find_backbone("timm:small_dinov2").image_size == 224
    assert find_backbone("timm:small_dinov3").image_size == 256


def test_a_network_without_levels_is_one_sentence(tiny_backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message about `--set levels=` of a network that has none to name, after the data was read."""
    monkeypatch.setitem(BACKBONES, "tiny", dataclasses.replace(BACKBONES[tiny_backbone], levels=()))
    for recipe in ("patchcore", "resad"):
        with pytest.raises(UsageError, match=r"names no stage of `tiny` that gives one\. Set `--backbone efficientnet"):
            resolve(RunConfig(backbone="tiny", recipe=recipe))


@pytest.mark.parametrize("cut", ["blocks.3", "blocks.9", "layer2", "blocks.1.attn"])
def test_an_impossible_cut_of_a_transformer_is_one_sentence(cut: str) -> None:
    """Nothing left to adapt after the last block, or a name of before taken for another."""
    with pytest.raises(UsageError, match=r"Unknown cut of this network `.*known: .*`blocks\.0`"):
        timm_loading.load("small_vit", cut, pretrained=False)


def test_a_network_that_cannot_be_taken_apart_is_adapted_as_a_whole() -> None:
    """A family without a default cut at all, although its maps need none."""
    assert timm_loading.default_cut(outline("crossvit_9_240")) == "input"
