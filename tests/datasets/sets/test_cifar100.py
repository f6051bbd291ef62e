"""CIFAR-100's coarse classes: the file's own, or by the map from the fine ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import one_class_task
from panda_core.datasets.sets.cifar100 import CIFAR100, CLASSES, COARSE_OF_FINE
from panda_core.errors import DataMissing, UsageError

Publish = Callable[[str], Path]


def test_a_coarse_class_against_all_others(publish: Publish) -> None:
    """Guards: fine classes taken for coarse ones; another class trained on; a test set cut down to two classes."""
    root = publish("cifar100")
    for number, name in enumerate(CLASSES):
        task = one_class_task(CIFAR100.open(root, name, 0), train_limit=None, test_limit=None, seed=0)
        assert len(task.train) == 10 and len(task.test) == 100 and task.is_anomaly.sum() == 95
        assert all(image.startswith(f"train/{name}/") for image in task.train.names)
        assert task.kinds is not None and set(task.kinds[task.is_anomaly == 0]) == {name}
        assert {int(image[-5:]) % 100 for image in task.train.names} == set(np.nonzero(number == COARSE_OF_FINE)[0])


def test_the_map_from_fine_classes() -> None:
    """Guards: a slip in the hundred numbers (methods, section 6: every coarse class occurs five times)."""
    assert np.bincount(COARSE_OF_FINE).tolist() == [5] * 20
    assert [CLASSES[COARSE_OF_FINE[fine]] for fine in (0, 54, 98, 2, 47, 88, 69)] == [
        "fruit_and_vegetables",  # apple
        "flowers",  # orchid
        "people",  # woman
        "people",  # baby
        "trees",  # maple
        "large_carnivores",  # tiger
        "vehicles_2",  # rocket
    ]


def test_files_with_fine_labels_alone(publish: Publish, pickled: Callable[[object], bytes]) -> None:
    """Guards: coarse labels that differ between the two ways to them; a file with both read by its fine ones."""
    root = publish("cifar100")
    official = CIFAR100.open(root, "trees", 0)
    fine = list(range(100))
    data = np.zeros((100, 3072), np.uint8)
    path = root / "cifar-100-python" / "test"
    path.write_bytes(pickled({"fine_labels": fine, "data": data}))
    np.testing.assert_array_equal(CIFAR100.open(root, "trees", 0).test_labels, official.test_labels)
    path.write_bytes(pickled({"fine_labels": fine, "coarse_labels": [3] * 100, "data": data}))
    assert set(CIFAR100.open(root, "trees", 0).test_labels) == {CLASSES[3]}
    path.write_bytes(pickled({"labels": fine, "data": data}))
    with pytest.raises(UsageError, match="is no CIFAR batch: it has no entry 'coarse_labels'"):
        CIFAR100.open(root, "trees", 0)


def test_missing_data_is_described(publish: Publish) -> None:
    """Guards: half an archive taken for all of it; a sentence without place, name, size and command."""
    root = publish("cifar100")
    assert CIFAR100.missing(root) is None
    (root / "cifar-100-python" / "test").unlink()
    with pytest.raises(DataMissing) as caught:
        CIFAR100.open(root, "trees", 0)
    for part in ("cifar-100-python.tar.gz (161 MB)", "toronto.edu", str(root), "datasets --download cifar100"):
        assert part in str(caught.value)
