"""Normal images that do not look like the others: a bad one among them hides others like it, and is told by nobody.

What that costs, and how little of it comes back by dropping or weighing images unseen, is measured in BENCHMARKS.md,
section "doubtful". So images are named here, and a person decides.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from panda_core.backbones import find_backbone
from panda_core.backbones.network import Network
from panda_core.config import default_cache_dir
from panda_core.datasets import Images, OneClassTask
from panda_core.datasets.finding import SHOWN, WARNING, Finding
from panda_core.datasets.health import Health, check_health
from panda_core.datasets.io.regions import region_over
from panda_core.datasets.io.smaller import typical_side
from panda_core.datasets.own.size import learning_side
from panda_core.events import Computing
from panda_core.features.cache import trunk_activations
from panda_core.features.space import FeatureNorm, tail_features
from panda_core.scoring.knn import nearest

FOLDS = 10  # each image is compared with those of the nine others
NEIGHBOURS = 10  # more than the scorer's 2: bad images of one kind are each other's nearest
FEWEST = 30  # images below which the spread of the lower half is luck, and so is who lies beyond
# Of the log-scores of Gaussian images 0.1 % lie beyond; of clean sets up to 2 %, of 60 white blood cells 5 %.
DEVIATIONS = 3.0
NETWORK = "efficientnet_lite0"  # the smallest of those that come along


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Normal images by how little they look like the others.

    rows: (N,), which image each score is of; images that could not be decoded have none. scores: (N,), the sum of
    squared distances to the nearest 10 images of other groups, higher = less alike. nearest: (N, 3), rows of the three
    nearest. limit: the score above which an image is doubtful.
    """

    rows: np.ndarray
    scores: np.ndarray
    nearest: np.ndarray
    limit: float

    def doubtful(self) -> np.ndarray:
        """Return the places of the doubtful images in `rows`, the least alike first."""
        order = np.argsort(-self.scores, kind="stable")
        return order[self.scores[order] > self.limit]


def rank_normals(images: Images, network: Network, *, image_size: int, seed: int = 0) -> Computing[Ranking | None]:
    """Yield progress; return the ranking of normal images, by leave-group-out kNN in the whitened space of the others.

    None where fewer than 30 can be decoded. Deterministic for a seed, which draws the groups.
    """
    device = torch.device("cpu")
    network = network.to(device)
    activations = yield from trunk_activations(
        images,
        network,
        split="train",
        image_size=image_size,
        dtype="float16",
        device=device,
        cache_dir=default_cache_dir(),
    )
    if len(activations.values) < FEWEST:
        return None
    features = yield from tail_features(network.tail, activations.values, device)
    scores, close = _left_out(features, network.level_widths, seed)
    return Ranking(activations.image_rows, scores, activations.image_rows[close], _limit(scores))


def _left_out(features: torch.Tensor, widths: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return of features (N, D) the scores (N,), and the places (N, 3) of the nearest in other groups."""
    shuffled = np.random.default_rng([seed, 13]).permutation(len(features))
    scores, close = np.empty(len(features)), np.empty((len(features), 3), np.int64)
    for group in np.array_split(shuffled, FOLDS):
        others = np.setdiff1d(shuffled, group)
        norm = FeatureNorm.fit("whiten", features[others], widths, features.shape[1])
        gallery, queries = norm(features[others]).numpy(), norm(features[group]).numpy()
        distances, places = nearest(gallery, queries, NEIGHBOURS)
        scores[group], close[group] = np.maximum(distances, 0).sum(axis=1), others[places[:, :3]]
    return scores, close


def _limit(scores: np.ndarray) -> float:
    """Return the score that lies `DEVIATIONS` above the median of the log-scores.

    The deviation is that of the lower half, which bad images cannot stretch.
    """
    logs = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    middle = np.median(logs)
    deviation = 1.4826 * np.median(middle - logs[logs <= middle])
    return float(np.exp(middle + DEVIATIONS * deviation))


def _findings(images: Images, ranking: Ranking | None) -> list[Finding]:
    """Return what is to be said of the doubtful among normal images, as a health check says it.

    Each is named beside what it was found nearest to, and how far it is, in times of a typical image.
    """
    if ranking is None or not len(places := ranking.doubtful()):
        return []
    typical = float(np.median(ranking.scores)) or 1.0
    one = len(places) == 1
    told = (
        f"{len(places)} training image{'' if one else 's'} look{'s' * one} little like the others. Look at "
        f"{'it' if one else 'them'}: a bad image among the normals raises the threshold and hides others of its kind."
    )
    examples = tuple(
        (
            f"train: {images.names[ranking.rows[place]]}",
            f"{ranking.scores[place] / typical:.1f} times as far from its nearest as a typical image; these are "
            + ", ".join(images.names[row] for row in ranking.nearest[place]),
        )
        for place in places[:SHOWN]
    )
    return [Finding("doubtful", WARNING, told, len(places), examples, has_reasons=True)]


def check_all(task: OneClassTask, seed: int = 0) -> Computing[Health]:
    """Return what `check_health` finds in a task, and which of its normal images look little like the others."""
    health = yield from check_health(task)
    row = find_backbone(NETWORK)
    if row.missing() is not None:
        return health
    size, network = learning_side(typical_side(task.train)), row.load(row.cut)
    prepared = dataclasses.replace(network.preprocessing, region=region_over(task.train))
    network = dataclasses.replace(network, preprocessing=prepared)
    ranking = yield from rank_normals(task.train, network, image_size=size, seed=seed)
    return health.also(_findings(task.train, ranking))
