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
from panda_core.features.trunk import Activations, activation_batch
from panda_core.methods.sgd import SGD, Optimiser


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """What is known before any image: the network and the numbers of the run.

    options: values of `--set`.
    image_size: side of the network's input, in pixels.
    """

    network: Network
    options: Mapping[str, Any]
    image_size: int
    batch_size: int
    steps: int
    seed: int
    device: torch.device


@dataclasses.dataclass(frozen=True)
class AuxiliaryImages:
    """Images that are not the normal ones: outliers, or images of the pretraining.

    values: trunk activations (N, C, h, w).
    labels: (N,) classes of the pretrained classifier, or None for images whose class does not matter.
    """

    values: Activations
    labels: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a learner learns from: normal training images, and auxiliary ones where it needs some. Never a test image.

    values: trunk activations (N, C, h, w).
    train_rows: rows of `values` that are learned from; the others are held out.
    image: row -> decoded image, uint8 (H, W, 3).
    norm: features (B, D) -> in the run's space, (B, D').
    center: the constant center (D',) in it.
    auxiliary: other images, or None.
    """

    values: Activations
    train_rows: np.ndarray
    image: Callable[[int], np.ndarray]
    norm: Callable[[Tensor], Tensor]
    center: Tensor
    auxiliary: AuxiliaryImages | None


class Learner:
    """A way to adapt a network's tail. Subclasses say how; each lies in the file that `Recipe.learner` names.

    head: tensors that are trained together with the tail, or only remembered; all are saved with every checkpoint.
    remembered: the names of the latter.
    data: there from `begin` on; a detector, which only scores, has none.
    """

    remembered: tuple[str, ...] = ()
    data: TrainingData

    def __init__(self, config: LearnerConfig) -> None:
        self.config = config
        self.head: dict[str, Tensor] = {}

    def pretrain(self, values: Activations, rows: np.ndarray) -> Computing[None]:
        """Prepare the tail before the space is fitted to its features. rows: of `values`, that are learned from."""
        yield from ()

    def adjusted(self, center: Tensor) -> Tensor:
        """Return the center that is used instead of the mean (D',) of the unadapted features."""
        return center

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        """Take what is learned from. features: unadapted ones (N, D') in the space; None where a run is resumed."""
        self.data = data

    def keep(self, **tensors: Tensor) -> None:
        """Put tensors into the head, on the device of the run: as parameters, unless they are only remembered."""
        for name, value in tensors.items():
            tensor = value.detach().to(self.config.device)
            self.head[name] = tensor if name in self.remembered else nn.Parameter(tensor)

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        """Return the loss, a scalar, of the batch of training rows that makes step + 1."""
        raise NotImplementedError

    def optimiser(self, parameters: list[Tensor], lr: float) -> Optimiser:
        """Return the optimiser: SGD unless a method is published with another."""
        options = self.config.options
        return SGD(
            parameters, lr=lr, momentum=options.get("momentum", 0.0), weight_decay=options.get("weight_decay", 0.0)
        )

    def rate(self, step: int) -> float:
        """Return the share of the learning rate that step + 1 is made with."""
        return 1.0

    def scores(self, values: Activations, features: np.ndarray) -> Computing[np.ndarray]:
        """Return the method's own anomaly scores (M,), higher = more anomalous; recipes with scorer `own` have them.

        values: trunk activations (M, C, h, w). features: (M, D') of the same images in the run's space.
        """
        raise NotImplementedError

    def auxiliary_accuracy(self, values: Activations, features: np.ndarray) -> Computing[dict[str, np.ndarray]]:
        """Return name of an auxiliary task -> share (M,) of correct classes for each image; most learners have none.

        Such as telling how an image was turned. values, features: as for `scores`.
        """
        yield from ()
        return {}

    def close(self) -> None:
        """Let go of worker threads."""

    def features(self, rows: np.ndarray) -> Tensor:
        """Return the features (B, D') of training rows in the run's space, through the tail as it is."""
        batch = activation_batch(self.data.values, rows, self.config.device)
        return self.data.norm(self.config.network.tail(batch))

    def auxiliary_images(self) -> AuxiliaryImages:
        """Return the other images of a recipe that has some."""
        if self.data.auxiliary is None:
            raise ValueError("This recipe was given no other images.")
        return self.data.auxiliary


def batch_rows(train_rows: np.ndarray, batch_size: int, seed: int, step: int, stream: int = 2) -> np.ndarray:
    """Return the rows of the batch before step + 1: epochs are shuffled anew, the last batch may be short.

    A function of the step alone, so that a resumed run goes on with the batch that would have come next. stream: tells
    apart what is drawn for different purposes with one seed.
    """
    per_epoch = -(-len(train_rows) // batch_size)  # rounded up
    epoch, number = divmod(step, per_epoch)
    order = np.random.default_rng([seed, stream, epoch]).permutation(train_rows)
    return order[number * batch_size : (number + 1) * batch_size]
