"""What the distance to images of anything adds to that from normal images, and whether a run says where it does not."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch

from panda_core.datasets import find_dataset
from panda_core.datasets.io.smaller import typical_side
from panda_core.datasets.one_class import LabelledSplits
from panda_core.features.background import Background
from panda_core.features.background_file import bundled_background
from panda_core.features.space import FeatureNorm
from panda_core.metrics import auroc
from panda_core.scoring.knn import KNNScorer
from panda_core.scoring.mahalanobis import MahalanobisScorer
from panda_core.scoring.relative_mahalanobis import RelativeMahalanobisScorer
from tests.benchmarks.space import DATA, interval, normal_and_judged, pooled_features

Row = dict[str, str]
EVERY = 10**9
WAYS = ("knn", "mahalanobis", "always", "relative-mahalanobis")  # always: also where normal images lie far
NETWORK = "efficientnet_lite0"
# Data set, class that is opened, number of normal images, seeds.
CASES = (
    ("cifar10", "", 128, 3),
    ("cifar10", "", 900, 1),
    ("cifar10", "", EVERY, 1),
    ("wbc", "", EVERY, 10),
    ("elpv", "mono", EVERY, 3),
    ("elpv", "poly", EVERY, 3),
    ("magnetic_tiles", "", EVERY, 3),
    ("digits", "", EVERY, 1),
)
NOTE = (
    "AUROC of EfficientNet-Lite0, nothing adapted, at each set's default size and in the default space; mean of all "
    "classes and seeds, which draw the normal images or split a set anew (70 % of white blood cells, 80 % of others "
    "to learn from; 10 seeds of white blood cells, 1 of digits and of CIFAR-10 with 900 or all images, 3 of the "
    "rest). CIFAR-10 class folders: all test images at hand, 500 a class. `relative-mahalanobis` has the bundled "
    "background of 1,000 photographs, so it is no plain frozen network. `far` counts the classes and seeds whose "
    "normal images do not look like the background: there it is left out, and a run says so; `always` is what it "
    "would give there as well. Gains are over `mahalanobis`, paired by class and seed, mean and 95 % interval. The "
    "line was drawn knowing the first figures of all these sets, and the number of directions of the background on "
    "half of CIFAR-10's test images."
)


def background() -> Iterator[Row]:
    """Each way to score beside the others, for every data set that is here."""
    for key, name, count, seeds in CASES:
        if find_dataset(key).missing(DATA):
            yield {"note": f"{key} is not here and is left out."}
            continue
        measured = list(_measured(key, name, count, seeds))
        yield _row(
            f"{key} {name}".strip(), count, np.array([values for values, _ in measured]), [far for _, far in measured]
        )
    yield {"note": NOTE}


def _measured(key: str, name: str, count: int, seeds: int) -> Iterator[tuple[tuple[float, ...], bool]]:
    """Yield (AUROC of each of `WAYS` in percent, whether normal images lie far) for each class and seed."""
    dataset, (splits, features, widths) = find_dataset(key), _opened(key, name)
    labels = np.concatenate([splits.train_labels, splits.test_labels])
    in_train = np.arange(len(labels)) < len(splits.train)
    bundled = bundled_background(NETWORK, min(dataset.image_size, typical_side(splits.train)))
    for label in np.unique(labels[in_train]):
        for seed in range(seeds):
            normal, judged = normal_and_judged(key, labels, in_train, label, seed)
            is_anomaly = (labels[judged] != label).astype(np.uint8)
            norm = FeatureNorm.fit("whiten", features[normal[:count]], widths, 1024)
            arounds = [
                Background.fit(norm, torch.from_numpy(bundled.rows), far) for far in (np.inf, *bundled.far["l2"])
            ]
            gallery, queries = norm(features[normal[:count]]).numpy(), norm(features[judged]).numpy()
            always, relative = (RelativeMahalanobisScorer(background=around) for around in arounds)
            scorers = KNNScorer(), MahalanobisScorer(), always, relative
            values = [auroc(scorer.fit(gallery).score(queries), is_anomaly) or 0 for scorer in scorers]
            yield tuple(100 * value for value in values), not relative.near_


@functools.lru_cache(maxsize=1)
def _opened(key: str, name: str) -> tuple[LabelledSplits, torch.Tensor, tuple[int, ...]]:
    """Return the splits of a data set, the features (N, D) of training and test images, and the widths of levels."""
    dataset = find_dataset(key)
    splits = dataset.open(DATA, name or dataset.classes(DATA)[0], 0)
    parts = [
        pooled_features(images, np.arange(len(images)), dataset.image_size, NETWORK)
        for images in (splits.train, splits.test)
    ]
    return splits, torch.cat([features for features, _ in parts]), parts[0][1]


def _row(data: str, count: int, found: np.ndarray, far: list[bool]) -> Row:
    means = found.mean(axis=0)
    return {
        "data": data,
        "normal images": "all" if count == EVERY else str(count),
        **{way: f"{mean:.1f}" for way, mean in zip(WAYS, means, strict=True)},
        "gain, always": interval(found[:, 2] - found[:, 1]),
        "gain": interval(found[:, 3] - found[:, 1]),
        "far": f"{sum(far)} of {len(far)}",
    }
