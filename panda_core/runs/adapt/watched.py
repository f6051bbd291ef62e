"""What the alarm watches, label-free: neighbours of training images, strange copies of held-out ones, rounding."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from panda_core.features.joined import JoinedNorm
from panda_core.features.trunk import Activations, activation_batch
from panda_core.metrics import auroc
from panda_core.scoring.knn import nearest

WATCHED = 500  # training images whose neighbours are followed from step 0 on
COPIED, COPIES = 40, 4  # held-out images that are copied at most, and how often each: a tenth of an evaluation's time
FEWEST_COPIED = 8  # held-out images; of fewer, each moves an AUROC by more than the line that it is held against
ROUNDED = 8  # training images whose features are computed in float64 as well


def neighbourhoods(features: np.ndarray) -> np.ndarray:
    """Return for features (n, D) the rows of the nearest third of the others, (n, k) int32, at least one."""
    k = _near(len(features))
    _, rows = nearest(features, features, k + 1)
    others = rows != np.arange(len(features))[:, None]
    others[others.all(axis=1), -1] = False  # where images coincide, a row may not be its own nearest
    return rows[others].reshape(len(features), k).astype(np.int32)


def overlap(first: np.ndarray, now: np.ndarray) -> float:
    """Return how much two sets of neighbourhoods (n, k) have in common: 1 all, 0 as much as chance gives."""
    n, k = first.shape
    if k in (0, n - 1):
        return 1.0  # everybody is a neighbour
    members = np.zeros((2, n, n), bool)
    for index, rows in enumerate((first, now)):
        np.put_along_axis(members[index], rows, True, axis=1)
    chance = k / (n - 1)
    return float(((members[0] & members[1]).sum() / first.size - chance) / (1 - chance))


def strange_copies(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `COPIES` strange versions of each of the cached activations (H, C, h, w) or (H, T, C): (COPIES * H, ...).

    Half of the channels of a copy, drawn for each, are those of another of the images. Each channel then looks as in a
    normal image, and together they never do: what a copy shows is drawn as anomalies are, of parts that are known.
    """
    copies = np.concatenate([values] * COPIES)
    values, by_channel = (np.moveaxis(given, -1, 1) if given.ndim == 3 else given for given in (values, copies))
    count, channels = len(values), values.shape[1]
    for copied in range(len(copies)):
        other = (copied + rng.integers(1, count)) % count
        taken = rng.permutation(channels)[: max(1, channels // 2)]
        by_channel[copied, taken] = values[other, taken]
    return copies


def stand_in_auroc(gallery: np.ndarray, held_out: np.ndarray, copies: np.ndarray) -> float | None:
    """Return the AUROC of kNN scores of held-out normal images (H, D') against those of strange copies (n, D').

    gallery: (N, D') features of the training images.
    """
    scores = [nearest(gallery, features, min(2, len(gallery)))[0].sum(axis=1) for features in (held_out, copies)]
    return auroc(np.concatenate(scores), np.repeat([0, 1], [len(held_out), len(copies)]))


def rounding_margin(
    features: np.ndarray, tail: nn.Module, norm: JoinedNorm, values: Activations, rows: np.ndarray
) -> float:
    """Return how many times the distance between near images is what float32 loses of their features.

    features: (N, D') of all images whose cached activations are values (N, C, h, w). rows: of the training images.
    The distance is the root mean square over each image's nearest third; what is lost, over `ROUNDED` images, is the
    distance to their features computed in float64, by the same weights.
    """
    k = _near(len(rows))
    if k == 0:
        return 0.0
    distances, _ = nearest(features[rows], features[rows], k + 1)  # (n, k + 1), the first of an image to itself
    some = rows[:ROUNDED]
    # On the processor: not every device has float64.
    exact = copy.deepcopy(tail).to("cpu", torch.float64)
    with torch.no_grad():
        batch = activation_batch(values, some, torch.device("cpu")).double()
        lost = norm(exact(batch)).numpy() - features[some]  # (ROUNDED, D')
    apart = np.maximum(distances[:, 1:], 0).mean(dtype=np.float64)
    return float(np.sqrt(apart / max(np.square(lost).sum(axis=1).mean(), np.finfo(np.float64).tiny)))


def _near(count: int) -> int:
    """Return how many the nearest third of `count` - 1 other images are, at least one where there is one."""
    return min(max(1, round((count - 1) / 3)), max(count - 1, 0))
