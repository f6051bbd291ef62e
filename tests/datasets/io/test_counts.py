"""Counts of images for each class, against opening every class by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import DATASETS, one_class_task
from panda_core.datasets.io.counts import ClassCounts, count_images
from panda_core.errors import DataMissing


@pytest.mark.parametrize("key", DATASETS)
def test_counts_are_those_of_the_tasks(key: str, data_root: Path) -> None:
    """Guards: counts of one class told for all; a split shared where each class has its own."""
    dataset = DATASETS[key]
    counts = count_images(dataset, data_root)
    assert list(counts) == list(dataset.classes(data_root))
    for name in list(counts)[:3] + list(counts)[-1:]:
        task = one_class_task(dataset.open(data_root, name, 0), train_limit=None, test_limit=None, seed=0)
        anomalous = int(np.sum(task.is_anomaly))
        assert counts[name] == ClassCounts(len(task.train), len(task.test) - anomalous, anomalous)


def test_missing_data_has_no_counts(tmp_path: Path) -> None:
    """Guards: zeros where nothing is known."""
    with pytest.raises(DataMissing):
        count_images(DATASETS["cifar100"], tmp_path)
