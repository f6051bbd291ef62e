"""Normal images with bad ones among them: which images, for the measurements of `doubtful`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from panda_core.datasets import Images, balanced_subset, find_dataset
from tests.benchmarks.space import DATA, OWN_SPLIT, normal_and_judged

SHARES = (0.0, 0.05, 0.1, 0.2)
NORMALS = 150  # at most: a digit has 120 to 130
SEEDS = (0, 1, 2)
# Data set, class that it is opened with, classes that are normal in turn, limits of both splits.
SETS: tuple[tuple[str, str, tuple[str, ...], int | None, int | None], ...] = (
    ("magnetic_tiles", "", ("free",), None, None),
    ("elpv", "mono", ("functional",), None, None),
    ("elpv", "poly", ("functional",), None, None),
    ("digits", "", tuple("0123456789"), None, None),
    ("cifar10", "", ("airplane", "bird", "deer", "frog", "ship"), 4000, 2000),
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One data set, normal class and seed.

    halves: its training and its test images; rows count through both. normal: rows (N,) of normal images to learn
    from. bad: rows of anomalies that take the place of the last of them; they are never judged. judged: rows (M,).
    is_anomaly: (M,) of those.
    """

    title: str
    key: str
    size: int
    seed: int
    halves: tuple[Images, Images]
    normal: np.ndarray
    bad: np.ndarray
    judged: np.ndarray
    is_anomaly: np.ndarray

    def learned(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (N,) of the images to learn from with this share of bad ones, and which are bad, bool (N,)."""
        count = round(share * len(self.normal))
        rows = np.concatenate([self.normal[: len(self.normal) - count], self.bad[:count]])
        return rows, np.arange(len(rows)) >= len(rows) - count

    def fewer_judged(self, each: int) -> Cell:
        """Return the same with at most so many normal images and anomalies to judge."""
        rng = np.random.default_rng([self.seed, 78])
        drawn = [rng.permutation(np.nonzero(self.is_anomaly == flag)[0])[:each] for flag in (0, 1)]
        kept = np.sort(np.concatenate(drawn))
        return dataclasses.replace(self, judged=self.judged[kept], is_anomaly=self.is_anomaly[kept])


def cells(fewer: Mapping[str, Sequence[str]] | None = None) -> Iterator[Cell]:
    """Yield the cells of all sets that are here. fewer: of a set, the classes that are normal in turn."""
    for key, opened, names, train_limit, test_limit in SETS:
        dataset = find_dataset(key)
        if dataset.missing(DATA):
            continue
        splits = dataset.open(DATA, opened or dataset.classes(DATA)[0], 0)
        first = balanced_subset(splits.train_labels, train_limit, 0)
        last = balanced_subset(splits.test_labels, test_limit, 0)
        halves = splits.train.subset(first), splits.test.subset(last)
        labels = np.concatenate([splits.train_labels[first], splits.test_labels[last]])
        in_train = np.arange(len(labels)) < len(first)
        for name in (fewer or {}).get(key, names):
            for seed in SEEDS:
                normal, judged = normal_and_judged(key, labels, in_train, name, seed)
                normal = normal[:NORMALS]
                others = np.nonzero(in_train & (labels != name))[0]
                pool = others if key in OWN_SPLIT else judged[labels[judged] != name]
                bad = np.random.default_rng([seed, 77]).permutation(pool)[: round(max(SHARES) * len(normal))]
                judged = np.setdiff1d(judged, bad)
                yield Cell(
                    " ".join(filter(None, (key, opened))),
                    key,
                    dataset.image_size,
                    seed,
                    halves,
                    normal,
                    bad,
                    judged,
                    (labels[judged] != name).astype(np.uint8),
                )
