"""Joint optimisation: both losses, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from panda_core.features.space import FeatureNorm
from panda_core.features.trunk import activation_batch
from panda_core.methods.compactness import compactness_loss
from panda_core.methods.joint import Joint
from panda_core.methods.learner import AuxiliaryImages, LearnerConfig, TrainingData


@pytest.fixture
def make(tiny_network: Callable[..., Any]) -> Callable[[float], tuple[Joint, TrainingData]]:
    """Return a function (alpha) -> a learner at its start, and what it learns from."""

    def build(alpha: float) -> tuple[Joint, TrainingData]:
        torch.manual_seed(0)
        network = tiny_network()
        network.tail.requires_grad_(True)
        rng = np.random.default_rng(0)
        with torch.no_grad():
            images = torch.tensor(rng.normal(size=(12, 3, 32, 32)), dtype=torch.float32)
            values = network.trunk(images).numpy()
            features = network.tail(torch.from_numpy(values[:6]))
        data = TrainingData(
            values[:6],
            np.arange(6),
            lambda row: np.empty(0),
            FeatureNorm("none", network.level_widths),
            features.mean(dim=0),
            AuxiliaryImages(values[6:], np.array([0, 1, 2, 0, 1, 2])),
        )
        config = LearnerConfig(network, {"alpha": alpha}, 32, 6, 4, 0, torch.device("cpu"))
        learner = Joint(config)
        learner.begin(data, features.numpy())
        return learner, data

    return build


def gradients(learner: Joint, loss: torch.Tensor) -> list[torch.Tensor]:
    parameters = [value for value in learner.config.network.tail.parameters() if value.requires_grad]
    return list(torch.autograd.grad(loss, parameters))


def test_without_alpha_it_is_plain_classification(make: Callable[..., Any]) -> None:
    """A compactness term that cannot be switched off, or labels that do not go with their images."""
    learner, data = make(0.0)
    network = learner.config.network
    features = network.tail(activation_batch(data.auxiliary.values, np.arange(6), torch.device("cpu")))
    plain = F.cross_entropy(network.logits(features), torch.tensor(data.auxiliary.labels))
    loss = learner.loss(np.arange(6), 0)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    for found, expected in zip(gradients(learner, loss), gradients(learner, plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_what_alpha_adds_is_compactness(make: Callable[..., Any]) -> None:
    """Another scale of the second term than that of the compactness loss of every other recipe."""
    learner, data = make(2.0)
    alone, _ = make(0.0)
    rows = np.arange(6)
    difference = learner.loss(rows, 0) - alone.loss(rows, 0)
    features = learner.config.network.tail(activation_batch(data.values, rows, torch.device("cpu")))
    assert difference.item() == pytest.approx(2 * compactness_loss(features, data.center).item(), rel=1e-3)


def test_the_classifier_is_trained_from_the_pretrained_one(make: Callable[..., Any]) -> None:
    """A classifier drawn at random, a frozen one, or the network's own changed behind its back."""
    learner, _ = make(1.0)
    own = dict(learner.config.network.classifier.named_parameters())
    for name, value in learner.head.items():
        assert torch.equal(value, own[name]) and value.requires_grad and value is not own[name]
    (gradient,) = torch.autograd.grad(learner.loss(np.arange(6), 0), learner.head["weight"])
    assert gradient.abs().sum() > 0
