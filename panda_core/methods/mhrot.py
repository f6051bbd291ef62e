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
from panda_core.features.trunk import activation_batch
from panda_core.linalg import center_of
from panda_core.methods.geometric_views import HEADS, NAMES, STEPS, TURNS, VIEWS, classes, shifted, view
from panda_core.methods.learner import Learner, Material

STREAM = 9  # draws shifts and mirrors apart from the order of the images
BATCH = 64  # images of which one view at a time is in memory while they are scored
NEIGHBOURS = 2  # PANDA's kNN
CLASSIFY, DIFFERENCE = "classify", "knn-difference"


def heads_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the heads' cross-entropies. logits: (B, 10) = [4 | 3 | 3], labels: (B, 3), scalar."""
    parts = zip(logits.split(HEADS, dim=1), labels.unbind(dim=1), strict=True)
    return torch.stack([F.cross_entropy(part, wanted) for part, wanted in parts]).mean()


def told(logits: Tensor, wanted: tuple[int, int, int]) -> Tensor:
    """Return the sum over the heads of the probability of the right class: (B,) in [0, 3]. logits: (B, 10)."""
    parts = zip(logits.split(HEADS, dim=1), wanted, strict=True)
    return torch.stack([part.softmax(dim=1)[:, place] for part, place in parts]).sum(dim=0)


def right(logits: Tensor, wanted: tuple[int, int, int]) -> Tensor:
    """Return which heads say the right class: bool (B, 3). logits: (B, 10)."""
    parts = zip(logits.split(HEADS, dim=1), wanted, strict=True)
    return torch.stack([part.argmax(dim=1) == place for part, place in parts], dim=1)


def neighbour_distances(gallery: Tensor, queries: Tensor) -> Tensor:
    """Return the sum of the squared distances to the two nearest rows: (M,). gallery: (G, D), queries: (M, D)."""
    center = center_of(gallery)  # `cdist` finds distances through a product
    distances = torch.cdist(queries - center, gallery - center).square()
    return distances.topk(min(NEIGHBOURS, len(gallery)), largest=False).values.sum(dim=1)


class MHRot(Learner):
    """Features of whatever network, read by three linear heads that are trained with it.

    The heads start at 0: all answers are equally likely, and all images score -33.
    """

    remembered = ("galleries",)
    stale = True  # whether the network has moved since the galleries were made
    answered: tuple[tuple[np.ndarray, np.ndarray], ...] = ()  # images scored since it moved, and what `answers` says

    def pretrain(self, values: np.ndarray) -> Computing[None]:
        if self.setting.network.statistics_move:
            start_anew(self.setting.network.tail, self.setting.seed)
        yield from ()

    def begin(self, material: Material, features: np.ndarray | None) -> None:
        super().begin(material, features)
        if features is not None:
            width = sum(self.setting.network.level_widths)
            self.keep(weight=torch.zeros(sum(HEADS), width), bias=torch.zeros(sum(HEADS)))

    def loss(self, rows: np.ndarray, step: int) -> Tensor:
        self.stale, self.answered = True, ()
        rng = np.random.default_rng([self.setting.seed, STREAM, step])
        images = activation_batch(self.material.values, rows, self.setting.device)
        moved, labels = [], []
        for image, mirror, across, down in zip(
            images, rng.random(len(rows)) < 0.5, *rng.choice(STEPS, (2, len(rows))), strict=True
        ):
            moved.append(shifted((image.flip(-1) if mirror else image)[None], int(across), int(down)))
            labels.append([classes(turns, int(across), int(down)) for turns in TURNS])
        upright = torch.cat(moved)
        views = torch.cat([torch.rot90(upright, turns, dims=(2, 3)) for turns in TURNS])  # (4B, C, S, S)
        wanted = torch.tensor(labels, device=images.device).transpose(0, 1).flatten(0, 1)  # (4B, 3)
        return heads_loss(self._logits(self._features(views)), wanted)

    def optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        momentum, decay = (float(self.setting.options[key]) for key in ("momentum", "weight_decay"))
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, nesterov=momentum > 0)

    def rate(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / max(1, self.setting.steps)))

    @torch.no_grad()
    def scores(self, values: np.ndarray, features: np.ndarray) -> Computing[np.ndarray]:
        way = str(self.setting.options["mhrot_score"])
        if way != CLASSIFY:
            yield from self._make_galleries()
        elif not self.head["weight"].any():  # untrained heads look at nothing: every image is alike
            guessed = sum(float(told(self.head["bias"][None], classes(*place))) for place in VIEWS)
            return np.full(len(values), -guessed, np.float32)
        totals, known = np.zeros(len(values)), np.zeros((len(values), len(HEADS)))
        for start, images in self._batches(values):
            yield None
            rows = slice(start, start + len(images))
            for number, place in enumerate(VIEWS):
                found = self._features(view(images, *place))
                logits = self._logits(found)
                part = -told(logits, classes(*place)) if way == CLASSIFY else self._far(found, number, way)
                totals[rows] += part.double().cpu().numpy()
                known[rows] += right(logits, classes(*place)).cpu().numpy()
        if hasattr(self, "material"):  # a detector is asked for scores alone, of ever new images
            self.answered = (*self.answered, (values, known / len(VIEWS)))
        return (totals if way == CLASSIFY else totals / len(VIEWS)).astype(np.float32)

    def answers(self, values: np.ndarray, features: np.ndarray) -> Computing[dict[str, np.ndarray]]:
        if not self.head["weight"].any():  # equal logits: the first class of every head, right in a share of the views
            return {name: np.full(len(values), 1 / size) for name, size in zip(NAMES, HEADS, strict=True)}
        if not any(given is values for given, _ in self.answered):
            yield from self.scores(values, features)
        known = next(known for given, known in self.answered if given is values)
        return dict(zip(NAMES, known.T, strict=True))

    def _far(self, features: Tensor, number: int, way: str) -> Tensor:
        """Return how far features (B, D) of a view are from normal ones in the same view, and others or not: (B,)."""
        galleries = self.head["galleries"]
        own = neighbour_distances(galleries[number], features)
        if way != DIFFERENCE:
            return own
        others = [neighbour_distances(gallery, features) for place, gallery in enumerate(galleries) if place != number]
        return own - torch.stack(others).mean(dim=0)

    def _make_galleries(self) -> Computing[None]:
        """Keep features (36, G, D) of normal images in each view, through the tail as it is; a detector has them."""
        if not self.stale or not hasattr(self, "material"):
            return
        fitted, most = self.material.fitted, int(self.setting.options["gallery_images"])
        chosen = np.random.default_rng([self.setting.seed, STREAM]).permutation(fitted)[:most]
        parts: list[list[Tensor]] = [[] for _ in VIEWS]
        for _, images in self._batches(self.material.values[np.sort(chosen)]):
            yield None
            for part, place in zip(parts, VIEWS, strict=True):
                part.append(self._features(view(images, *place)))
        self.keep(galleries=torch.stack([torch.cat(part) for part in parts]))
        self.stale = False

    def _batches(self, values: np.ndarray) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(values), BATCH):
            rows = np.arange(start, min(start + BATCH, len(values)))
            yield start, activation_batch(values, rows, self.setting.device)

    def _features(self, views: Tensor) -> Tensor:
        """Return the tail's features (B, D) of views, as they are: the heads see no feature norm."""
        features: Tensor = self.setting.network.tail(views.contiguous(memory_format=torch.channels_last))
        return features

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features, self.head["weight"], self.head["bias"])


LEARNER = MHRot
