"""MHRot (Hendrycks et al., NeurIPS 2019): a network learns to tell how normal images were turned and shifted.

Three heads say the turn, the shift across and the shift down of a view; the loss is the mean of their cross-entropies.
An image whose 36 views are told badly is anomalous: the score is minus the sum, over views and heads, of the
probability of the right answer, from -108 (all told) to 0; guessing gives -33. The one-class code for CIFAR-10 is not
released; what is here follows the released code for ImageNet. Each step shows every image of the batch turned four
ways, with one random shift and mirrored or not, as there; only that shifts are drawn, not all nine gone through.

With `mhrot_score=knn` the heads are left aside and the network's features are compared with those of normal images in
the same view, averaged over the views (PANDA, App. A); `knn-difference` subtracts the mean distance to the other 35
views. A network that is pretrained keeps its BatchNorm statistics. How often each head is right is counted as well
(PANDA, Table 3).

Expected, with `run --dataset cifar10 --recipe mhrot --train-limit 2000 --test-limit 1000` (300 steps of 32 images, two
minutes of processor time): AUROC 88.6 for automobile and 80.8 for horse, seed 0. Published, with a large network and
all images: 96.9 and 96.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.backbones.network import start_anew
from panda_core.events import Computing
from panda_core.features.trunk import Activations, activation_batch
from panda_core.linalg import center_of
from panda_core.methods.geometric_views import HEADS, NAMES, STEPS, TURNS, VIEWS, classes, shifted, view
from panda_core.methods.learner import Learner, TrainingData
from panda_core.methods.sgd import SGD, Optimiser

STREAM = 9  # of the seed: draws shifts and mirrors apart from the order of the images
BATCH = 64  # images of which one view at a time is in memory while they are scored
NEIGHBOURS = 2  # PANDA's kNN
CLASSIFY, DIFFERENCE = "classify", "knn-difference"


def heads_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the heads' cross-entropies. logits: (B, 10) = [4 | 3 | 3], labels: (B, 3), scalar."""
    heads = zip(logits.split(HEADS, dim=1), labels.unbind(dim=1), strict=True)  # (B, 4 or 3), (B,) of each
    return torch.stack([F.cross_entropy(head, label) for head, label in heads]).mean()


def correct_probability(logits: Tensor, labels: tuple[int, int, int]) -> Tensor:
    """Return the sum over the heads of the probability of the correct class: (B,) in [0, 3]. logits: (B, 10)."""
    heads = zip(logits.split(HEADS, dim=1), labels, strict=True)
    return torch.stack([head.softmax(dim=1)[:, label] for head, label in heads]).sum(dim=0)  # of (3, B)


def correct(logits: Tensor, labels: tuple[int, int, int]) -> Tensor:
    """Return which heads name the correct class: bool (B, 3). logits: (B, 10)."""
    heads = zip(logits.split(HEADS, dim=1), labels, strict=True)
    return torch.stack([head.argmax(dim=1) == label for head, label in heads], dim=1)


def neighbour_distances(gallery: Tensor, queries: Tensor) -> Tensor:
    """Return the sum of the squared distances to the two nearest rows: (M,). gallery: (G, D), queries: (M, D)."""
    center = center_of(gallery)  # `cdist` finds distances through a product
    distances = torch.cdist(queries - center, gallery - center).square()
    return distances.topk(min(NEIGHBOURS, len(gallery)), largest=False).values.sum(dim=1)


class MHRot(Learner):
    """Features of whatever network, read by three linear heads that are trained with it.

    The heads start at 0: all classes are equally likely, and all images score -33.

    stale: whether the network has moved since the galleries were made.
    accuracies: (images, share (M, 3) of their views of which each head is right) since it moved.
    """

    remembered = ("galleries",)
    stale = True
    accuracies: tuple[tuple[Activations, np.ndarray], ...] = ()

    def pretrain(self, values: Activations, rows: np.ndarray) -> Computing[None]:
        if self.config.network.statistics_move:
            start_anew(self.config.network.tail, self.config.seed)
        yield from ()

    def begin(self, data: TrainingData, features: np.ndarray | None) -> None:
        super().begin(data, features)
        if features is not None:
            width = sum(self.config.network.level_widths)
            self.keep(weight=torch.zeros(sum(HEADS), width), bias=torch.zeros(sum(HEADS)))

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        self.stale, self.accuracies = True, ()
        rng = np.random.default_rng([self.config.seed, STREAM, step])
        images = activation_batch(self.data.values, rows, self.config.device)  # (B, C, S, S)
        mirrored, shifts = rng.random(len(rows)) < 0.5, rng.choice(STEPS, (2, len(rows)))
        upright, labels = [], []
        for image, mirror, across, down in zip(images, mirrored, *shifts.tolist(), strict=True):
            upright.append(shifted((image.flip(-1) if mirror else image)[None], across, down))  # (1, C, S, S)
            labels.append([classes(turns, across, down) for turns in TURNS])  # 4 times (turn, across, down)
        views = torch.cat([torch.rot90(torch.cat(upright), turns, dims=(2, 3)) for turns in TURNS])  # (4B, C, S, S)
        label = torch.tensor(labels, device=images.device).transpose(0, 1).flatten(0, 1)  # (B, 4, 3) -> (4B, 3)
        return heads_loss(self._logits(self._features(views)), label)

    def optimiser(self, parameters: list[Tensor], lr: float) -> Optimiser:
        momentum, decay = (float(self.config.options[key]) for key in ("momentum", "weight_decay"))
        return SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, nesterov=momentum > 0)

    def rate(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / max(1, self.config.steps)))

    @torch.no_grad()
    def scores(self, values: Activations, features: np.ndarray) -> Computing[np.ndarray]:
        way = str(self.config.options["mhrot_score"])
        if way != CLASSIFY:
            yield from self._make_galleries()
        elif not self.head["weight"].any():  # untrained heads look at nothing: every image is alike
            guessed = sum(float(correct_probability(self.head["bias"][None], classes(*moves))) for moves in VIEWS)
            return np.full(len(values), -guessed, np.float32)
        totals, hits = np.zeros(len(values)), np.zeros((len(values), len(HEADS)))  # (M,), (M, 3)
        for start, images in self._batches(values):
            yield None
            rows = slice(start, start + len(images))
            for number, moves in enumerate(VIEWS):
                features_of_view = self._features(view(images, *moves))  # (B, D)
                logits = self._logits(features_of_view)  # (B, 10)
                if way == CLASSIFY:
                    score = -correct_probability(logits, classes(*moves))  # (B,)
                else:
                    score = self._far(features_of_view, number, way)  # (B,)
                totals[rows] += score.double().cpu().numpy()
                hits[rows] += correct(logits, classes(*moves)).cpu().numpy()
        if hasattr(self, "data"):  # a detector is asked for scores alone, of ever new images
            self.accuracies = (*self.accuracies, (values, hits / len(VIEWS)))
        return (totals if way == CLASSIFY else totals / len(VIEWS)).astype(np.float32)

    def auxiliary_accuracy(self, values: Activations, features: np.ndarray) -> Computing[dict[str, np.ndarray]]:
        if not self.head["weight"].any():  # equal logits: the first class of every head, right in a share of the views
            return {name: np.full(len(values), 1 / size) for name, size in zip(NAMES, HEADS, strict=True)}
        if not any(images is values for images, _ in self.accuracies):
            yield from self.scores(values, features)
        accuracy = next(accuracy for images, accuracy in self.accuracies if images is values)  # (M, 3)
        return dict(zip(NAMES, accuracy.T, strict=True))

    def _far(self, features: Tensor, number: int, way: str) -> Tensor:
        """Return how far features (B, D) of a view lie from normal ones in it, less how far from others: (B,)."""
        galleries = self.head["galleries"]  # (36, G, D)
        own = neighbour_distances(galleries[number], features)
        if way != DIFFERENCE:
            return own
        others = [neighbour_distances(gallery, features) for other, gallery in enumerate(galleries) if other != number]
        return own - torch.stack(others).mean(dim=0)  # of (35, B)

    def _make_galleries(self) -> Computing[None]:
        """Keep features (36, G, D) of normal images in each view, through the tail as it is; a detector has them."""
        if not self.stale or not hasattr(self, "data"):
            return
        largest = int(self.config.options["gallery_images"])
        chosen = np.random.default_rng([self.config.seed, STREAM]).permutation(self.data.train_rows)[:largest]
        galleries: list[list[Tensor]] = [[] for _ in VIEWS]  # of each view, (B, D) of each batch
        for _, images in self._batches(self.data.values[np.sort(chosen)]):
            yield None
            for gallery, moves in zip(galleries, VIEWS, strict=True):
                gallery.append(self._features(view(images, *moves)))
        self.keep(galleries=torch.stack([torch.cat(gallery) for gallery in galleries]))
        self.stale = False

    def _batches(self, values: Activations) -> Iterator[tuple[int, Tensor]]:
        """Yield (row of the first, activations (B, C, S, S)) of all images, batch by batch."""
        for start in range(0, len(values), BATCH):
            rows = np.arange(start, min(start + BATCH, len(values)))
            yield start, activation_batch(values, rows, self.config.device)

    def _features(self, views: Tensor) -> Tensor:
        """Return the tail's features (B, D) of views, as they are: the heads see no feature norm."""
        features: Tensor = self.config.network.tail(views.contiguous(memory_format=torch.channels_last))
        return features

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features, self.head["weight"], self.head["bias"])


LEARNER = MHRot
