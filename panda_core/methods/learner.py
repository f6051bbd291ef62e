"""What every way to adapt has in common: what it trains, its loss, its optimiser and, if it has one, its own score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.backbones.network import Network
from panda_core.events import Computing
from panda_core.features.space import FeatureNorm
from panda_core.features.trunk import activation_batch


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is known before any image: the network and the numbers of the run. options: values of `--set`."""

    network: Network
    options: Mapping[str, Any]
    image_size: int
    batch_size: int
    steps: int
    seed: int
    device: torch.device


@dataclasses.dataclass(frozen=True)
class Beside:
    """Trunk activations (N, C, h, w) of images that are not the normal ones: outliers, or images of the pretraining.

    labels: (N,) classes of the pretrained classifier, or None for images whose class does not matter.
    """

    values: np.ndarray
    labels: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Material:
    """What a learner learns from: normal training images, and at most those beside them. No test image, no label.

    values: trunk activations (N, C, h, w). fitted: rows that are learned from. image: row -> decoded uint8 (H, W, 3).
    norm, center: the run's space and the constant centre (D',) in it.
    """

    values: np.ndarray
    fitted: np.ndarray
    image: Callable[[int], np.ndarray]
    norm: FeatureNorm
    center: Tensor
    beside: Beside | None


class Learner:
    """A way to adapt a network's tail. Subclasses say how; each lies in the file that `Recipe.learner` names.

    head: tensors that are trained beside the tail, or only remembered; all are saved with every checkpoint.
    remembered: the names of the latter. material: there from `begin` on; a detector, which only scores, has none.
    """

    remembered: tuple[str, ...] = ()
    material: Material

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.head: dict[str, Tensor] = {}

    def pretrain(self, values: np.ndarray) -> Computing[None]:
        """Prepare the tail before the space is fitted to its features. values: of `fitted`."""
        yield from ()

    def adjusted(self, center: Tensor) -> Tensor:
        """Return the centre that is used instead of the mean (D',) of the unadapted features."""
        return center

    def begin(self, material: Material, features: np.ndarray | None) -> None:
        """Take what is learned from. features: unadapted ones (N, D') in the space; None where a run is resumed."""
        self.material = material

    def keep(self, **tensors: Tensor) -> None:
        """Put tensors into the head, on the device of the run: as parameters, unless they are only remembered."""
        for name, value in tensors.items():
            placed = value.detach().to(self.setting.device)
            self.head[name] = placed if name in self.remembered else nn.Parameter(placed)

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        """Return the loss, a scalar, of the batch of training rows that makes step + 1."""
        raise NotImplementedError

    def optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """Return the optimiser: SGD unless a method is published with another."""
        options = self.setting.options
        return torch.optim.SGD(
            parameters, lr=lr, momentum=options.get("momentum", 0.0), weight_decay=options.get("weight_decay", 0.0)
        )

    def rate(self, step: int) -> float:
        """Return the share of the learning rate that step + 1 is made with."""
        return 1.0

    def scores(self, values: np.ndarray, features: np.ndarray) -> Computing[np.ndarray]:
        """Return the method's own anomaly scores (M,), higher = more anomalous; recipes with scorer `own` have them.

        values: trunk activations (M, C, h, w). features: (M, D') of the same images in the run's space.
        """
        raise NotImplementedError

    def answers(self, values: np.ndarray, features: np.ndarray) -> Computing[dict[str, np.ndarray]]:
        """Return what is asked of the network about each image -> the share (M,) of right answers; most ask nothing.

        values, features: as for `scores`.
        """
        yield from ()
        return {}

    def close(self) -> None:
        """Let go of worker threads."""

    def features(self, rows: np.ndarray) -> Tensor:
        """Return the features (B, D') of training rows in the run's space, through the tail as it is."""
        batch = activation_batch(self.material.values, rows, self.setting.device)
        return self.material.norm(self.setting.network.tail(batch))

    def beside(self) -> Beside:
        """Return the other images of a recipe that has some."""
        if self.material.beside is None:
            raise ValueError("This recipe was given no other images.")
        return self.material.beside


def batch_rows(fitted: np.ndarray, batch_size: int, seed: int, step: int, stream: int = 2) -> np.ndarray:
    """Return the rows of the batch before step + 1: epochs are shuffled anew, the last batch may be short.

    A function of the step alone, so that a resumed run goes on with the batch that would have come next. stream: tells
    apart what is drawn for different purposes with one seed.
    """
    per_epoch = -(-len(fitted) // batch_size)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, stream, epoch]).permutation(fitted)
    return order[place * batch_size : (place + 1) * batch_size]
