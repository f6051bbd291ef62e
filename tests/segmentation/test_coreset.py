"""Greedy k-center selection against brute force, and what it promises of every set of points."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from panda_core.events import result_of
from panda_core.segmentation.coreset import k_centers


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
