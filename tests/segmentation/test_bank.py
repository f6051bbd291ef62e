"""The search for the nearest normal patch, exact and approximate, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.segmentation.bank import Bank, origins_of


def points(count: int, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def bank_of(features: np.ndarray, exact_rows: int = 10**6, seed: int = 0) -> Bank:
    return Bank(features, np.arange(4 * len(features)).reshape(-1, 4), exact_rows=exact_rows, seed=seed)


def brute_force(bank: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return all distances (Q, R), in double precision, one difference at a time."""
    return np.sqrt(((queries[:, None].astype(np.float64) - bank[None].astype(np.float64)) ** 2).sum(axis=-1))


@pytest.mark.parametrize("k", [1, 3, 7])
def test_nearest_are_brute_forces(k: int) -> None:
    """Squared distances, another order, or rows of another patch."""
    bank, queries = points(90), points(24, seed=1).reshape(2, 4, 3, 6)
    distances, rows = bank_of(bank).nearest(queries, k)
    assert distances.shape == rows.shape == (2, 4, 3, k)
    assert (distances.dtype, rows.dtype) == (np.float32, np.int32)
    expected = brute_force(bank, queries.reshape(-1, 6))
    np.testing.assert_array_equal(rows.reshape(-1, k), expected.argsort(axis=1)[:, :k])
    np.testing.assert_allclose(distances.reshape(-1, k), np.sort(expected, axis=1)[:, :k], rtol=1e-4)


def test_what_is_in_the_bank_is_at_distance_0() -> None:
    """A normal patch that is a little abnormal; a NaN from the root of minus nothing."""
    bank = points(200, 64)
    distances, rows = bank_of(bank).nearest(bank, 1)
    np.testing.assert_allclose(distances, 0, atol=2e-3)
    np.testing.assert_array_equal(rows[:, 0], np.arange(200))


@pytest.mark.parametrize("count", [1, 2])
def test_a_small_bank_repeats_its_last(count: int) -> None:
    """A row of -1, or a failure, where fewer normal patches are left than are shown."""
    distances, rows = bank_of(points(count)).nearest(points(5, seed=1), 4)
    assert distances.shape == (5, 4)
    assert (rows[:, count - 1 :] == rows[:, [count - 1]]).all()
    assert (distances[:, count - 1 :] == distances[:, [count - 1]]).all()
    assert set(rows.ravel()) == set(range(count))


def test_far_from_the_origin_distances_stay_right() -> None:
    """Distances of patches that share a large mean, lost in the rounding of a product of large numbers."""
    bank, queries = points(80) + 10_000, points(20, seed=1) + 10_000
    distances, rows = bank_of(bank).nearest(queries, 1)
    expected = brute_force(bank, queries)
    np.testing.assert_array_equal(rows[:, 0], expected.argmin(axis=1))
    np.testing.assert_allclose(distances[:, 0], expected.min(axis=1), rtol=1e-3)


def test_the_recall_of_an_exact_search_is_1() -> None:
    """A small bank searched approximately; an exact search called approximate."""
    assert bank_of(points(100), exact_rows=100).recall == 1.0
    assert bank_of(points(4000), exact_rows=4000).recall == 1.0


def test_an_approximate_search_says_how_often_it_is_right() -> None:
    """A recall that is assumed, or measured on patches of the bank, which are always found."""
    bank = bank_of(points(4000, 16), exact_rows=3999)
    assert 0 < bank.recall < 1
    rng = np.random.default_rng(5)
    pairs = rng.integers(4000, size=(2, 1500))
    between = (bank.features[pairs[0]] + bank.features[pairs[1]]) / 2
    distances, rows = bank.nearest(between, 1)
    expected = brute_force(bank.features, between[:200])
    assert (distances[:200, 0] >= expected.min(axis=1) * (1 - 1e-4)).all()
    np.testing.assert_allclose(distances[:200, 0], expected[np.arange(200), rows[:200, 0]], rtol=1e-4)
    exact, _ = bank_of(bank.features).nearest(between, 1)
    measured = (distances <= exact * (1 + 1e-5)).mean()
    assert measured == pytest.approx(bank.recall, abs=0.08)  # three standard errors of 500 samples


@pytest.mark.parametrize("count", [2, 10, 40, 200])
def test_an_approximate_search_of_few_patches(count: int) -> None:
    """Rows of -1 at a distance of 1e19, or a failure, where the cells looked into hold fewer than k patches."""
    bank = bank_of(points(count), exact_rows=1)
    distances, rows = bank.nearest(points(60, seed=1) * 5, 3)
    assert (rows >= 0).all() and (rows < count).all()
    expected = brute_force(bank.features, points(60, seed=1) * 5)
    np.testing.assert_allclose(distances, np.take_along_axis(expected, rows, axis=1), rtol=1e-3)
    assert 0 < bank.recall <= 1


@pytest.mark.parametrize("exact_rows", [10, 10**6])
def test_a_saved_bank_is_the_same(exact_rows: int) -> None:
    """An approximate search that finds other patches after it was read back."""
    bank, queries = bank_of(points(500), exact_rows), points(50, seed=1)
    again = Bank.from_tensors(bank.tensors(), exact_rows=exact_rows, seed=0)
    for found, expected in zip(again.nearest(queries), bank.nearest(queries), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again.origins, bank.origins)
    assert again.recall == bank.recall


def test_origins_are_in_the_order_of_patches() -> None:
    """A neighbour shown at another place, or in another image, than where it lies."""
    origins = origins_of(np.array([7, 3]), 2, (2, 3))
    expected = [
        (image, turn, row, column) for image in (7, 3) for turn in (0, 1) for row in (0, 1) for column in range(3)
    ]
    assert origins.tolist() == [list(origin) for origin in expected]
    assert origins.dtype == np.int32
