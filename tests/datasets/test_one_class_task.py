"""The one-class task and the two ways of choosing images by a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panda_core.datasets.io.images import ArrayImages
from panda_core.datasets.one_class import LabelledSplits, balanced_subset, one_class_task, stratified_split
from panda_core.errors import UsageError


@st.composite
def label_arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw one to five labels, each with a number of items of its own, in any order."""
    counts = draw(st.lists(st.integers(1, 20), min_size=1, max_size=5))
    return np.array(draw(st.permutations(list(np.repeat(list("abcde")[: len(counts)], counts)))))


def splits(normal: str) -> LabelledSplits:
    labels = np.repeat(["a", "b", "c"], [8, 5, 7])
    train = ArrayImages(np.arange(20, dtype=np.uint8).reshape(20, 1, 1), [f"train/{row}" for row in range(20)])
    test = ArrayImages(np.arange(100, 120, dtype=np.uint8).reshape(20, 1, 1), [f"test/{row}" for row in range(20)])
    return LabelledSplits(train, labels, test, labels, normal)


@given(labels=label_arrays(), share=st.floats(0.01, 1.1), seed=st.integers(0, 5))
def test_balanced_subset_is_as_even_as_the_labels_allow(labels: np.ndarray, share: float, seed: int) -> None:
    """Guards: fewer images than asked for, one twice, disorder, a class short of what it could give."""
    limit = max(1, round(share * len(labels)))
    rows = balanced_subset(labels, limit, seed)
    assert len(rows) == min(limit, len(labels))
    assert (np.diff(rows) > 0).all() and rows.min() >= 0 and rows.max() < len(labels)
    names, available = np.unique(labels, return_counts=True)
    taken = np.array([np.sum(labels[rows] == name) for name in names])
    unexhausted = taken[taken < available]
    if len(unexhausted):
        assert taken.max() - unexhausted.min() <= 1
    np.testing.assert_array_equal(rows, balanced_subset(labels, limit, seed))


@given(labels=label_arrays(), fraction=st.sampled_from([0.5, 0.7]), seed=st.integers(0, 5))
def test_stratified_split_parts_every_label(labels: np.ndarray, fraction: float, seed: int) -> None:
    """Guards: an image in both halves or in none; a label that gives another share than asked."""
    train, test = stratified_split(labels, fraction, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()
    for label in np.unique(labels):
        assert np.sum(labels[train] == label) == round(fraction * np.sum(labels == label))
    np.testing.assert_array_equal(train, stratified_split(labels, fraction, seed)[0])


def test_small_labels_leave_their_share_to_large_ones() -> None:
    """Guards: ten images returned where twelve were asked for, because a small label came last."""
    labels = np.repeat(["a", "b", "c"], [20, 9, 2])
    rows = balanced_subset(labels, 12, 0)
    assert [np.sum(labels[rows] == name) for name in "abc"] == [5, 5, 2]


def test_another_seed_chooses_other_images() -> None:
    """Guards: a seed that is not used, so that every repetition is the same."""
    labels = np.repeat(["a", "b"], 50)
    assert not np.array_equal(balanced_subset(labels, 20, 0), balanced_subset(labels, 20, 1))
    assert not np.array_equal(stratified_split(labels, 0.7, 0)[0], stratified_split(labels, 0.7, 1)[0])


@pytest.mark.parametrize("test_limit", [None, 9])
def test_the_test_set_is_the_same_for_every_normal_class(test_limit: int | None) -> None:
    """Guards: AUROCs of different classes measured on different images (methods, section 6)."""
    tasks = [one_class_task(splits(name), train_limit=None, test_limit=test_limit, seed=3) for name in "abc"]
    assert tasks[0].test.names == tasks[1].test.names == tasks[2].test.names
    assert len(tasks[0].test) == (test_limit or 20)
    for task, name in zip(tasks, "abc", strict=True):
        expected = [name != "aaaaaaaabbbbbccccccc"[int(shown[5:])] for shown in task.test.names]
        np.testing.assert_array_equal(task.is_anomaly, expected)
        assert task.is_anomaly.dtype == np.uint8


def test_training_sees_the_normal_class_alone() -> None:
    """Guards: an anomaly among the training images, or a limit that lets one in."""
    for limit in (None, 2, 4, 100):
        task = one_class_task(splits("b"), train_limit=limit, test_limit=None, seed=0)
        rows = [int(name[6:]) for name in task.train.names]
        assert len(rows) == min(limit or 5, 5) and all(8 <= row < 13 for row in rows)
        assert [int(task.train.load(place)[0, 0, 0]) for place in range(len(rows))] == rows


def test_too_few_normal_images_end_in_a_sentence() -> None:
    """Guards: a nearest-neighbour index over nothing, failing far from the cause."""
    with pytest.raises(UsageError, match=r"`z` has 0 normal .* at least 2 .*--normal-class"):
        one_class_task(splits("z"), train_limit=None, test_limit=None, seed=0)
