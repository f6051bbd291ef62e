"""DeepSVDD: its network, its autoencoder, its two losses, its center and its radius."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from torch import nn

from panda_core.backbones import find_backbone
from panda_core.backbones.lenet import LeNet, contrast_normalised
from panda_core.events import CacheProgress, result_of
from panda_core.features.space import FeatureNorm
from panda_core.methods import deep_svdd
from panda_core.methods.deep_svdd import Decoder, DeepSVDD, kept_from_zero, soft_boundary_loss
from panda_core.methods.learner import LearnerConfig, TrainingData
from panda_core.methods.table import find_recipe

CPU = torch.device("cpu")


def pictures(count: int = 24, seed: int = 0) -> np.ndarray:
    """Return pixel values (N, 3, 32, 32) of smooth pictures, 0 to 255, as the cache holds them."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.random((count, 3, 4, 4), dtype=np.float32))
    large = nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    return (large * 255).round().numpy().astype(np.float16)


@pytest.fixture
def make() -> Callable[..., DeepSVDD]:
    """Return a function (backbone, steps, options...) -> a learner that has begun, its network not pretrained."""

    def build(backbone: str = "lenet", steps: int = 30, **options: Any) -> DeepSVDD:
        network = find_backbone(backbone).load("input")
        network.tail.requires_grad_(True)
        defaults = {key: option.default for key, option in find_recipe("deep-svdd").options.items()}
        learner = DeepSVDD(LearnerConfig(network, {**defaults, **options}, 32, 8, steps, 0, CPU))
        values = pictures()
        network.tail.fit_range(values)  # type: ignore[operator]
        features = network.tail(torch.from_numpy(values.astype(np.float32))).detach()
        center = learner.adjusted(features.mean(dim=0))
        norm = FeatureNorm("none", network.level_widths)
        data = TrainingData(values, np.arange(24), lambda row: values[row], norm, center, None)
        learner.begin(data, features.numpy())
        return learner

    return build


def test_no_convolution_and_no_matrix_has_a_bias() -> None:
    """A network that can give its center for any image; the variant that is said to have biases has them."""
    for key, wanted in (("lenet", False), ("lenet_bias", True)):
        tail = find_backbone(key).load("input").tail
        layers = [module for module in tail.modules() if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]
        assert len(layers) == 7
        assert all((module.bias is not None) == wanted for module in layers)
        assert any(name.endswith("bias") for name, _ in tail.named_parameters()) == wanted


def test_weights_of_zero_cost_the_length_of_the_center(make: Callable[..., DeepSVDD]) -> None:
    """A trivial solution: with all weights 0 the output is 0, which must not be the center."""
    learner = make()
    for value in learner.config.network.tail.parameters():
        nn.init.zeros_(value)
    center = learner.head["center"]
    assert center.abs().min() >= 0.0999 or (center == 0).any()
    assert learner.features(np.arange(8)).abs().max() == 0
    torch.testing.assert_close(learner.loss(np.arange(8), 0), center.square().sum())
    assert center.square().sum() > 1


def test_the_center_keeps_away_from_zero() -> None:
    """A component near 0, or an exact 0 moved to one side."""
    center = torch.tensor([0.5, 0.05, -0.02, 0.0, -0.3, 0.1, 1e-7])
    torch.testing.assert_close(kept_from_zero(center), torch.tensor([0.5, 0.1, -0.1, 0.0, -0.3, 0.1, 1e-7]))


def test_the_soft_boundary_by_hand() -> None:
    """nu on the wrong side, or a radius that is not squared: R = 2, nu = 1/4, distances 1, 4, 6 and 9."""
    loss = soft_boundary_loss(torch.tensor([1.0, 4.0, 6.0, 9.0]), torch.tensor(2.0), 0.25)
    assert loss.item() == pytest.approx(4 + 4 * (2 + 5) / 4)


def test_one_class_is_the_mean_squared_distance(make: Callable[..., DeepSVDD]) -> None:
    """A loss divided by the width, as PANDA's is: the published one is not."""
    learner = make()
    features, center = learner.features(np.arange(8)), learner.head["center"]
    expected = sum(((row - center) ** 2).sum() for row in features) / 8
    torch.testing.assert_close(learner.loss(np.arange(8), 0), expected)
    assert not learner.head["center"].requires_grad


@pytest.mark.parametrize("nu", [0.1, 0.25, 0.5])
def test_about_nu_of_the_distances_exceed_the_radius(make: Callable[..., DeepSVDD], nu: float) -> None:
    """A radius of squared distances, or the nu quantile in place of the 1 - nu one; also a warm-up that never ends."""
    learner, rows = make(objective="soft-boundary", nu=nu, warm_up=0.5), np.arange(20)
    learner.loss(rows, 14)
    assert learner.head["radius"] == 0
    learner.loss(rows, 15)
    distances = (learner.features(rows) - learner.head["center"]).norm(dim=1)
    assert abs((distances > learner.head["radius"]).float().mean().item() - nu) <= 1 / 20
    values, features = learner.data.values, learner.features(np.arange(24)).detach().numpy()
    scores = result_of(learner.scores(values, features))
    assert (
        (scores > 0)
        == (np.square(features - learner.head["center"].numpy()).sum(axis=1) ** 0.5 > float(learner.head["radius"]))
    ).all()
    assert scores.dtype == np.float32


def test_adam_with_the_published_schedule(make: Callable[..., DeepSVDD]) -> None:
    """SGD, or a rate that falls at another third."""
    learner = make(steps=30)
    optimiser = learner.optimiser([torch.zeros(2, requires_grad=True)], 1e-4)
    assert isinstance(optimiser, torch.optim.Adam)
    assert optimiser.param_groups[0]["weight_decay"] == 5e-7 and optimiser.param_groups[0]["lr"] == 1e-4
    assert [learner.rate(step) for step in (0, 9, 10, 29)] == [1.0, 1.0, 0.1, 0.1]


def test_contrast_normalisation_takes_out_brightness_and_contrast() -> None:
    """Statistics of each channel, or of the batch, in place of the image's; a division by zero for one colour."""
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = contrast_normalised(x)
    torch.testing.assert_close(contrast_normalised(x * 90 + 20), found, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.abs().mean(dim=(1, 2, 3)), torch.ones(4))
    assert found.mean(dim=(2, 3)).abs().max() > 1e-3
    assert contrast_normalised(torch.full((1, 3, 8, 8), 77.0)).abs().max() == 0


def test_normal_images_fill_zero_to_one() -> None:
    """A range taken from each image, or from the raw pixels: that of all normal images is 0 to 1 exactly."""
    tail, values = LeNet(), pictures(40)
    tail.fit_range(values)
    prepared = tail.prepared(torch.from_numpy(values.astype(np.float32)))
    assert prepared.min().item() == pytest.approx(0, abs=1e-6) and prepared.max().item() == pytest.approx(1, abs=1e-6)
    assert (prepared.amax(dim=(1, 2, 3)) < 0.999).sum() > 30


def test_the_autoencoder_learns_to_draw(make: Callable[..., DeepSVDD], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretraining that leaves the network as it was drawn, or that says nothing on the way."""
    drawing: list[Decoder] = []

    class Watched(Decoder):
        def __init__(self, bias: bool) -> None:
            super().__init__(bias)
            drawing.append(self)

    monkeypatch.setattr(deep_svdd, "Decoder", Watched)
    monkeypatch.setattr(deep_svdd, "AE_LR", 2e-3)
    learner, values = make(ae_epochs=15), pictures(8)
    steps = learner.pretrain(values, np.arange(len(values)))
    tail = learner.config.network.tail
    x = torch.from_numpy(values.astype(np.float32))
    errors: list[float] = []
    before: list[torch.Tensor] | None = None
    for item in steps:
        assert item == CacheProgress(split="pretraining", done=len(errors) + 1, total=15, time=ANY)
        before = before or [value.clone() for value in tail.parameters()]
        with torch.no_grad():  # both in training mode, as they are trained
            images = tail.prepared(x)  # type: ignore[operator]
            errors.append(float((drawing[0](tail.encoded(images)) - images).square().mean()))  # type: ignore[operator]
    assert len(errors) == 15 and errors[-1] < 0.8 * errors[0]
    assert before and not any(torch.equal(a, b) for a, b in zip(before, tail.parameters(), strict=True))
    assert not tail.training


def test_the_decoder_mirrors_the_network() -> None:
    """Pictures of another size or range, or a bias where there must be none."""
    for bias in (False, True):
        decoder = Decoder(bias)
        drawn = decoder(torch.randn(5, 128, generator=torch.Generator().manual_seed(0)))
        assert drawn.shape == (5, 3, 32, 32) and drawn.min() >= 0 and drawn.max() <= 1
        assert any(name.endswith("bias") for name, _ in decoder.named_parameters()) == bias


def test_a_last_batch_of_one_image_is_no_fault(make: Callable[..., DeepSVDD]) -> None:
    """A failure of BatchNorm where the number of images leaves a single one over."""
    learner = make(ae_epochs=1)
    assert len(list(learner.pretrain(pictures(9), np.arange(9)))) == 2
