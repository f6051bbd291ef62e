"""The bank of normal patches and its coreset, each against its slow twin and its promises."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from panda_core.events import result_of
from panda_core.segmentation.bank import Bank, origins_of
from panda_core.segmentation.coreset import k_centers


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


def clustered(seed: int = 0) -> np.ndarray:
    """Return 600 points in 5 dimensions: one large cluster, and nine small ones far away."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=20, size=(10, 5))
    return (np.repeat(centers, [510] + [10] * 9, axis=0) + rng.normal(size=(600, 5))).astype(np.float32)


def radius(points: np.ndarray, rows: np.ndarray) -> float:
    """Return the largest distance of any point to the nearest of those at `rows`."""
    apart = points[:, None].astype(np.float64) - points[None, rows]
    return float(np.sqrt((apart**2).sum(axis=-1)).min(axis=1).max())


def chosen(points: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    return result_of(k_centers(points, count, rng=np.random.default_rng(seed)))


@pytest.mark.parametrize("count", [600, 601, 10_000])
def test_all_of_them_are_all_of_them(count: int) -> None:
    """A coreset of everything that drops a point, or changes their order."""
    assert chosen(clustered(), count).tolist() == list(range(600))


@pytest.mark.parametrize("count", [1, 2, 37, 599])
@pytest.mark.parametrize("width", [5, 100])
def test_rows_are_distinct_and_ascending(count: int, width: int) -> None:
    """A point chosen twice, which leaves the coreset smaller than it says."""
    points = np.random.default_rng(1).normal(size=(600, width)).astype(np.float32)
    rows = chosen(points, count)
    assert len(rows) == count and (np.diff(rows) > 0).all()


def test_more_points_never_cover_less() -> None:
    """A choice that is not the farthest: the covering radius would rise somewhere."""
    points = clustered()
    radii = [radius(points, chosen(points, count)) for count in range(1, 60)]
    assert (np.diff(radii) <= 1e-4).all()
    assert radii[-1] < radii[0] / 4


@pytest.mark.parametrize("seed", range(4))
def test_it_covers_more_than_random_points(seed: int) -> None:
    """A selection that is random after all: it would spend all its points in the large cluster."""
    points = clustered(seed)
    for count in (5, 10, 30):
        drawn = np.random.default_rng(seed).choice(len(points), count, replace=False)
        assert radius(points, chosen(points, count, seed)) <= radius(points, drawn)
    assert radius(points, chosen(points, 10, seed)) < 10, "one of ten in each of ten clusters"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_at_most_twice_the_smallest_radius(count: int, seed: int) -> None:
    """Gonzalez' bound, against every possible choice of so many among twelve points."""
    points = np.random.default_rng(seed).normal(size=(12, 3)).astype(np.float32)
    best = min(radius(points, np.array(rows)) for rows in combinations(range(12), count))
    assert radius(points, chosen(points, count, seed)) <= 2 * best + 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_each_next_point_is_the_farthest(seed: int) -> None:
    """A slow twin: the greedy choice, written down plainly."""
    points = np.random.default_rng(seed).normal(size=(80, 4)).astype(np.float32)
    rows = [int(np.random.default_rng(seed).integers(80))]
    for _ in range(14):
        nearest = [min(np.linalg.norm(point - points[row]) for row in rows) for point in points]
        rows.append(int(np.argmax(nearest)))
    assert chosen(points, 15, seed).tolist() == sorted(rows)


@pytest.mark.parametrize("count", [2, 300, 2000])
@pytest.mark.parametrize("equal", [False, True])
def test_points_that_wait_are_not_forgotten(count: int, equal: bool) -> None:
    """A choice among the farthest of a while ago, when others have become farther; thousands of equal points."""
    rng = np.random.default_rng(count)
    points = rng.standard_t(3, size=(4000, 6)).astype(np.float32)
    if equal:
        points[rng.permutation(4000)[:3000]] = points[0]
    nearest = np.full(len(points), np.inf)
    pick = int(np.random.default_rng(0).integers(len(points)))
    greedy = []
    for _ in range(count):
        greedy.append(pick)
        nearest = np.minimum(nearest, np.square(points.astype(np.float64) - points[pick]).sum(axis=1))
        nearest[pick] = -1
        pick = int(nearest.argmax())
    found = chosen(points, count)
    different = min(count, 1001) if equal else count  # equal points lie at rounding from one another: any will do
    assert len(set(found)) == count
    assert len({tuple(point) for point in points[found]} & {tuple(point) for point in points[greedy]}) >= different - 2


def test_the_projection_keeps_distances_roughly() -> None:
    """A projection that is scaled wrongly or loses clusters: wide points must be covered about as well."""
    wide = np.zeros((600, 300), np.float32)
    wide[:, ::60] = clustered()
    for seed in range(3):
        unprojected = result_of(k_centers(wide, 10, rng=np.random.default_rng(seed), projected=300))
        assert radius(wide, chosen(wide, 10, seed)) <= 2 * radius(wide, unprojected)


def test_the_seed_decides() -> None:
    """Two runs of one config with different banks; a first point that is always the same."""
    points = np.random.default_rng(2).normal(size=(200, 100)).astype(np.float32)
    for seed in (0, 7):
        np.testing.assert_array_equal(chosen(points, 20, seed), chosen(points, 20, seed))
    assert len({tuple(chosen(points, 20, seed)) for seed in range(5)}) > 1


def test_equal_points_are_chosen_last_and_once() -> None:
    """An endless choice of one point where many are equal: black borders give thousands of equal patches."""
    points = np.repeat(clustered()[:4] * 10, 25, axis=0)
    first = chosen(points, 4)
    assert len({tuple(point) for point in points[first]}) == 4
    rows = chosen(points, 60)
    assert len(set(rows)) == 60
    alike = np.ones((50, 3), np.float32)
    assert len(set(chosen(alike, 20))) == 20


def test_it_may_be_stopped_on_the_way() -> None:
    """A selection of minutes in which nobody can stop it."""
    selecting = k_centers(clustered(), 500, rng=np.random.default_rng(0))
    assert [next(selecting) for _ in range(5)] == [None] * 5
    selecting.close()
