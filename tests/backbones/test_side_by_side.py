"""Networks side by side are each of them, one after the other: features, maps, logits, and at every cut."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from panda_core.backbones import find_backbone
from panda_core.backbones.network import Network
from panda_core.errors import UsageError

X = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def alone(cut: str) -> list[Network]:
    """Return the three networks by themselves."""
    return [find_backbone(f"efficientnet_lite{number}").load(cut) for number in range(3)]


@pytest.mark.parametrize("cut", ["blocks.4", "input"])
def test_features_are_those_of_each(cut: str) -> None:
    """Channels that are handed to the neighbour's tail: features of nothing, without an error."""
    joint, parts = find_backbone("efficientnet_lite_all").load(cut), alone(cut)
    with torch.no_grad():
        got = joint.tail(joint.trunk(X))
        each = [part.tail(part.trunk(X)) for part in parts]
    assert torch.allclose(got, torch.cat(each, dim=1), atol=1e-6)
    assert joint.part_levels == tuple(part.level_widths for part in parts)
    assert torch.equal(joint.last_level(got), torch.cat([one[:, -1280:] for one in each], dim=1))
    logits = [part.logits(one) for part, one in zip(parts, each, strict=True)]
    assert torch.allclose(joint.logits(got), torch.stack(logits).mean(dim=0), atol=1e-4)


def test_maps_are_those_of_each() -> None:
    """A level that shows one network alone, while the others are paid for."""
    joint, parts = find_backbone("efficientnet_lite_all").load("blocks.4"), alone("blocks.4")
    stages = ["blocks.2", "blocks.5"]
    with torch.no_grad():
        got, each = joint.stage_maps(X, stages), [part.stage_maps(X, stages) for part in parts]
    for place, found in enumerate(got):
        assert torch.equal(found, torch.cat([maps[place] for maps in each], dim=1))


def test_copies_are_whole_and_their_own() -> None:
    """A detector that cannot be pickled, or a copy whose maps are those of the network that it was copied from."""
    joint = find_backbone("efficientnet_lite_all").load("blocks.4")
    for copied in (pickle.loads(pickle.dumps(joint)), copy.deepcopy(joint)):
        with torch.no_grad():
            before = joint.stage_maps(X, ["blocks.6"])[0]
            assert torch.equal(copied.stage_maps(X, ["blocks.6"])[0], before)
            for value in copied.tail.parameters():
                value.zero_()
            assert not torch.equal(copied.stage_maps(X, ["blocks.6"])[0], before)
            assert torch.equal(joint.stage_maps(X, ["blocks.6"])[0], before)


def test_they_take_no_file_of_weights() -> None:
    """A file of one network's weights that is accepted for three and ignored."""
    with pytest.raises(UsageError, match="has its own"):
        find_backbone("efficientnet_lite_all").load("blocks.4", "mine.safetensors#sha256=00")
