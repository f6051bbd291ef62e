"""How many images a data set has on this machine, for each class that can be the normal one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from panda_core.datasets.one_class import Dataset, LabelledSplits


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """What the task of one normal class has: normal images to learn from, normal and anomalous ones to be tested on."""

    train: int
    test_normal: int
    test_anomalous: int


def count_images(dataset: Dataset, root: Path, seed: int = 0) -> dict[str, ClassCounts]:
    """Return the counts of every class, in the order of the classes; nothing is decoded.

    A data set that is not here, or not whole, raises what opening it raises.
    """
    counts: dict[str, ClassCounts] = {}
    classes = dataset.classes(root)
    shared: LabelledSplits | None = None
    for name in classes:
        splits = shared or dataset.open(root, name, seed)
        # Labels that are the classes themselves tell of one split for all of them, which need not be opened again.
        if splits.normal_label == name and set(classes) <= set(splits.train_labels):
            shared = splits
        label = name if shared is not None else splits.normal_label
        normal = int(np.sum(splits.test_labels == label))
        counts[name] = ClassCounts(
            train=int(np.sum(splits.train_labels == label)),
            test_normal=normal,
            test_anomalous=len(splits.test_labels) - normal,
        )
    return counts
