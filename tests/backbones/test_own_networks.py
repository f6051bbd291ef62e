"""The networks without pretraining: their start, what they take, and what refuses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from panda_core import RunConfig, UsageError
from panda_core.backbones import BACKBONES, find_backbone, timm_loading
from panda_core.backbones.network import start_anew
from panda_core.features.trunk import compute_trunk, network_input
from panda_core.methods.table import RECIPES
from panda_core.runs.kinds import prepare, resolve

OWN = [key for key, row in BACKBONES.items() if not row.pretrained]
every = pytest.mark.parametrize("key", OWN)


@every
def test_the_row_is_what_loads(key: str) -> None:
    """Widths, sizes or cuts that the row promises and the network does not have."""
    row, network = BACKBONES[key], BACKBONES[key].load("input")
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.trunk(x), x)
    assert network.tail(x).shape == (2, sum(network.level_widths))
    assert (row.image_size, row.cuts, network.cut, row.missing()) == (32, ("input",), "input", None)
    assert (network.stages, network.levels, row.levels) == ((), (), ())
    assert network.statistics_move == any("running" in name for name, _ in network.tail.named_buffers())


@every
def test_a_network_starts_alike_every_time(key: str) -> None:
    """Weights drawn from global random state: another network in the process that resumes, or another cache entry."""
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = find_backbone(key).load("input")
    torch.manual_seed(6)
    assert find_backbone(key).load("input").weights_sha256 == first.weights_sha256
    torch.manual_seed(5)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_each_seed_has_its_own_start() -> None:
    """A seed that changes nothing; weights of an earlier training, or its statistics, that stay."""
    tail = find_backbone("rotnet").load("input").tail
    tail.norm.running_mean.fill_(3)  # type: ignore[operator,union-attr]
    starts = []
    for seed in (0, 1, 0):
        start_anew(tail, seed)
        starts.append(torch.cat([value.detach().flatten() for value in tail.parameters()]))
    assert torch.equal(starts[0], starts[2]) and not torch.equal(starts[0], starts[1])
    assert not tail.norm.running_mean.any()  # type: ignore[operator,union-attr]
    assert 0.5 < starts[0].std() / starts[1].std() < 2


@pytest.mark.parametrize("key", ["pixels", "lenet"])
def test_the_cache_holds_pixels_exactly(key: str) -> None:
    """Pixels rounded by the number format of the cache: all 256 values come back as they were."""
    network = find_backbone(key).load("input")
    image = np.arange(256, dtype=np.uint8).repeat(12).reshape(32, 32, 3)
    values = compute_trunk([image], network, image_size=32, dtype="float16", device=torch.device("cpu"))
    np.testing.assert_array_equal(values[0].transpose(1, 2, 0), image)


def test_pixels_are_the_image() -> None:
    """Pixels that are scaled, reordered or normalised as if they were features of a network."""
    network = find_backbone("pixels").load("input")
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    features = network.tail(network.trunk(network_input(image[None], network.preprocessing)))
    np.testing.assert_allclose(features[0].numpy(), image.transpose(2, 0, 1).flatten() / 255, atol=1e-6)


@every
@pytest.mark.parametrize("recipe", ["patchcore", "spade"])
def test_maps_of_a_network_without_pretraining_are_refused(key: str, recipe: str) -> None:
    """A segmentation that fails after minutes, or compares patches of random features."""
    with pytest.raises(UsageError, match=rf"`{recipe}` compares maps.*`{key}` is none.*--backbone efficientnet_lite0"):
        resolve(RunConfig(recipe=recipe, backbone=key))
    with pytest.raises(UsageError, match="no maps"):
        find_backbone(key).load("input").stage_maps(torch.zeros(1, 3, 32, 32), ("blocks.2",))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"recipe": "deep-svdd", "backbone": "rotnet"},
            r"`backbone` of recipe `deep-svdd` must be `lenet` or `lenet_bias`",
        ),
        (
            {"recipe": "deep-svdd", "image_size": 64},
            r"`image_size` of backbone `lenet` must be 32.*got 64.*--image-size",
        ),
        ({"recipe": "frozen", "backbone": "pixels", "image_size": 16}, r"backbone `pixels` must be 32.*got 16"),
        ({"recipe": "mhrot", "set": {"cut": "blocks.2"}}, r"`cut` `blocks.2`; known: `input`"),
        ({"recipe": "ocsvm", "steps": 3}, r"`steps` of recipe `ocsvm` must be 0.*got 3"),
        (
            {"recipe": "ocsvm", "backbone": "efficientnet_lite0"},
            r"`backbone` of recipe `ocsvm` must be `pixels`.*`efficientnet_lite0`.*`--recipe frozen --scorer ocsvm`",
        ),
        (
            {"recipe": "ocsvm", "backbone": "timm:resnet18"},
            r"`backbone` of recipe `ocsvm` must be `pixels`.*got `timm:resnet18`",
        ),
        ({"recipe": "panda-early", "scorer": "own"}, r"Unknown scorer `own`"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    """A traceback about shapes, or a setting that is passed over."""
    with pytest.raises(UsageError, match=sentence):
        resolve(RunConfig(**changes))


def test_any_size_goes_with_the_residual_network() -> None:
    """MHRot on photos that are squeezed to 32 pixels whatever people ask for."""
    assert resolve(RunConfig(recipe="mhrot", image_size=64)).image_size == 64
    assert resolve(RunConfig(recipe="mhrot")).image_size == 32


def test_pixels_cannot_be_adapted() -> None:
    """Steps that change nothing, and a curve of them."""
    with pytest.raises(UsageError, match=r"`panda-early` needs a network with weights.*`pixels` has none"):
        prepare(RunConfig(recipe="panda-early", backbone="pixels", train_limit=10))


def test_what_needs_a_classifier_refuses_them() -> None:
    """A Fisher diagonal of random numbers."""
    with pytest.raises(UsageError, match="needs a backbone with a classifier"):
        prepare(RunConfig(recipe="panda-ewc", backbone="rotnet", train_limit=10))


def test_every_network_can_be_cut_at_its_input_for_mhrot() -> None:
    """Views of feature maps in place of views of the image; timm's networks left out."""
    assert RECIPES["mhrot"].cut == "input"
    for key in ("efficientnet_lite0", "efficientnet_lite2"):
        assert resolve(RunConfig(recipe="mhrot", backbone=key)).set["cut"] == "input"
        assert resolve(RunConfig(recipe="mhrot", backbone=key)).lr == 5e-4, "0.1 is for weights that know nothing yet"
    assert resolve(RunConfig(recipe="mhrot")).lr == 0.1
    network = timm_loading.load("resnet18", "input", pretrained=False)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.trunk(x), x) and network.level_widths == (512,)
    assert network.cut == "input" and network.tail(x).shape == (1, 512)
