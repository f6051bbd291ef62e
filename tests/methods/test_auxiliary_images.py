"""Learning with other images beside the normal ones: joint optimisation and outlier exposure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from panda_core.events import result_of
from panda_core.features.space import FeatureNorm
from panda_core.features.trunk import activation_batch
from panda_core.methods.compactness import compactness_loss
from panda_core.methods.joint import Joint
from panda_core.methods.learner import AuxiliaryImages, LearnerConfig, TrainingData
from panda_core.methods.outlier_exposure import OutlierExposure, exposure_loss
from panda_core.metrics import auroc


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


@dataclasses.dataclass
class Flat:
    """A network whose features are its activations."""

    tail: nn.Module = dataclasses.field(default_factory=nn.Flatten)


def learner(normal: np.ndarray, outliers: np.ndarray, batch: int = 8) -> OutlierExposure:
    """Return a learner at its start. normal, outliers: features (N, D)."""
    config = LearnerConfig(Flat(), {}, 0, batch, 100, 0, torch.device("cpu"))  # type: ignore[arg-type]
    values, others = (rows[:, :, None, None].astype(np.float32) for rows in (normal, outliers))
    norm = FeatureNorm("none", (normal.shape[1],))
    made = OutlierExposure(config)
    nowhere: Any = None
    data = TrainingData(
        values, np.arange(len(normal)), nowhere, norm, torch.zeros(normal.shape[1]), AuxiliaryImages(others, None)
    )
    made.begin(data, normal.astype(np.float32))
    return made


@pytest.fixture
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Return two clouds of points in the plane that a line separates."""
    rng = np.random.default_rng(0)
    return rng.normal((-2, 0), 0.3, (40, 2)), rng.normal((2, 1), 0.3, (30, 2))


def test_the_loss_at_the_start_is_ln_2(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """A head that starts elsewhere, a sum for a mean, or Eq. 5 as it is printed, with its offset of 1."""
    assert learner(*clouds).loss(np.arange(8), 0).item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_loss_is_binary_cross_entropy() -> None:
    """A sign the other way round: normal is 0, outlier is 1."""
    normal, outlier = torch.tensor([-1.0, 0.3]), torch.tensor([2.0, -0.5, 0.1])
    expected = nn.functional.binary_cross_entropy(
        torch.cat([normal, outlier]).sigmoid(), torch.tensor([0, 0, 1.0, 1, 1])
    )
    torch.testing.assert_close(exposure_loss(normal, outlier), expected)
    assert exposure_loss(normal - 5, outlier + 5) < exposure_loss(normal + 5, outlier - 5)


def test_the_two_sets_swapped_negate_the_first_gradient(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """A loss that treats its halves differently. At w = 0 the gradient is half the difference of their means."""
    first, second = clouds[0][:8], clouds[1][:8]
    gradients = []
    for pair in ((first, second), (second, first)):
        made = learner(*pair)
        gradients.append(torch.autograd.grad(made.loss(np.arange(8), 0), made.head["weight"])[0])
    torch.testing.assert_close(gradients[0], -gradients[1])
    mean = torch.tensor(first.mean(axis=0) - second.mean(axis=0), dtype=torch.float32) / 4
    torch.testing.assert_close(gradients[0], mean)


def test_separable_clouds_are_separated_with_outliers_above(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """Scores of the wrong polarity, or of sigma, whose ties cost AUROC."""
    made = learner(*clouds)
    optimiser = torch.optim.SGD(list(made.head.values()), lr=5.0)
    for step in range(60):
        optimiser.zero_grad()
        made.loss(np.arange(8), step).backward()
        optimiser.step()
    features = np.concatenate(clouds).astype(np.float32)
    scores = result_of(made.scores(np.empty(0), features))
    assert auroc(scores, np.repeat([0, 1], [40, 30])) == 1.0
    far = result_of(made.scores(np.empty(0), np.array([[50, 50], [60, 60]], np.float32)))
    assert scores.dtype == np.float32 and far[0] < far[1], "sigma would be 1.0 for both"


def test_every_outlier_is_seen_once_before_any_is_seen_twice(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    """Outliers drawn anew at every step, some of them never, or a stream that a short batch of normals disturbs."""
    made = learner(*clouds, batch=6)
    seen: list[np.ndarray] = []

    def remember(_module: nn.Module, inputs: tuple[torch.Tensor], _output: torch.Tensor) -> None:
        seen.append(inputs[0].flatten(1).numpy())

    made.config.network.tail.register_forward_hook(remember)
    for step in range(5):
        made.loss(np.arange(6 if step != 2 else 1), step)
    outliers = np.concatenate(seen[::2])  # outliers pass first
    assert len(outliers) == 30
    np.testing.assert_allclose(np.sort(outliers[:, 0]), np.sort(clouds[1][:, 0]).astype(np.float32))
