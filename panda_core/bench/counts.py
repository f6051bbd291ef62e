"""How many images a run learns from and is tested on, also where its data are not on this machine."""

from __future__ import annotations

import functools
from pathlib import Path

from panda_core.config import RunConfig
from panda_core.datasets import find_dataset
from panda_core.errors import PandaError

# Training images of a class, on average, and test images: PANDA, Table 8; of MVTec the test is each category's own.
PUBLISHED = {
    "cifar10": (5000, 10_000),
    "fashion_mnist": (6000, 10_000),
    "cifar100": (2500, 10_000),
    "flowers102": (10, 7169),
    "cub200": (30, 5794),
    "cats_vs_dogs": (10_000, 5000),
    "mvtec": (242, 115),
    "wbc": (59, 62),
    "dior": (649, 9243),
}


def image_counts(config: RunConfig) -> tuple[int, int] | None:
    """Return (N, M) images of a config's training and test split, its limits applied; None where nobody knows.

    Counted where the data are here; else as the paper counts them, on average over the classes.
    """
    counted = _counted(config.dataset, str(config.normal_class), config.seed, config.data_root)
    train, test = counted or PUBLISHED.get(config.dataset, (0, 0))
    if not train:
        return None
    return min(train, config.train_limit or train), min(test, config.test_limit or test)


@functools.lru_cache(maxsize=1024)
def _counted(key: str, normal_class: str, seed: int, data_root: str) -> tuple[int, int] | None:
    """Return (N, M) of the data set as it is here; None where it is not, or cannot be opened."""
    dataset, root = find_dataset(key), Path(data_root)
    if dataset.missing(root) is not None:
        return None
    try:
        splits = dataset.open(root, normal_class, seed)
    except PandaError:  # a cell that cannot be computed says so when it is
        return None
    return int((splits.train_labels == splits.normal_label).sum()), len(splits.test_labels)
