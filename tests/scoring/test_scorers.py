"""Each scorer against its formula, brute force and scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from panda_core.errors import UsageError
from panda_core.scoring.knn import KNNScorer, nearest
from panda_core.scoring.mahalanobis import MahalanobisScorer
from panda_core.scoring.means import KMeansScorer, MeanScorer
from panda_core.scoring.table import SCORERS


def sample(count: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def brute_force(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return squared distances (M, N), in double precision."""
    return ((queries[:, None].astype(np.float64) - gallery[None].astype(np.float64)) ** 2).sum(axis=2)


# An offset as of raw features that have collapsed onto a point far from the origin.
@pytest.mark.parametrize("offset", [0.0, 30.0, 1000.0])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("queries", [7, 800])  # faiss searches few and many queries in different ways
def test_knn_is_the_sum_of_k_squared_distances(offset: float, k: int, queries: int) -> None:
    """Roots, means or other neighbours; distances that drown in rounding where all features are alike."""
    gallery, probe = (sample(count, 32, seed) + np.float32(offset) for count, seed in ((200, 0), (queries, 1)))
    expected = np.sort(brute_force(gallery, probe), axis=1)[:, :k]
    found = KNNScorer(k=k).fit(gallery).score(probe)
    np.testing.assert_allclose(found, expected.sum(axis=1), rtol=1e-4)
    distances, indices = nearest(gallery, probe, k)
    np.testing.assert_allclose(distances, expected, rtol=1e-4)
    np.testing.assert_allclose(brute_force(gallery, probe)[np.arange(queries)[:, None], indices], expected, rtol=1e-5)
    reference = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(gallery.astype(np.float64))
    roots, _ = reference.kneighbors(probe.astype(np.float64))
    np.testing.assert_allclose(found, (roots**2).sum(axis=1), rtol=1e-4)


def test_knn_on_four_points() -> None:
    """A formula that only looks right on noise: worked out by hand."""
    gallery = np.array([[0, 0], [3, 0], [0, 4], [6, 8]], np.float32)
    scorer = KNNScorer(k=2).fit(gallery)
    np.testing.assert_allclose(scorer.score(np.array([[0, 0], [3, 4], [6, 8]], np.float32)), [0 + 9, 9 + 16, 0 + 52])


def test_a_gallery_image_is_its_own_neighbour() -> None:
    """Training images that score as normal by finding themselves: with k = 1 exactly 0, with k = 2 the next one."""
    gallery = sample(50, 16, 0) + 10
    np.testing.assert_allclose(KNNScorer(k=1).fit(gallery).score(gallery), 0, atol=1e-4)
    others = np.sort(brute_force(gallery, gallery), axis=1)[:, 1]
    np.testing.assert_allclose(KNNScorer(k=2).fit(gallery).score(gallery), others, rtol=1e-4)


def test_a_duplicate_counts_as_a_neighbour() -> None:
    """A training image given twice: it takes the place of the second neighbour, so its likes score lower."""
    gallery = sample(20, 4, 0)
    twice = np.concatenate([gallery, gallery[:1]])
    once = KNNScorer(k=2).fit(gallery).score(gallery[:1])
    assert KNNScorer(k=2).fit(twice).score(gallery[:1])[0] < 1e-5 < once[0]


def test_more_normal_images_never_raise_a_score() -> None:
    """A nearest neighbour that is missed."""
    gallery, queries = sample(60, 8, 0), sample(30, 8, 1)
    scores = [KNNScorer(k=2).fit(gallery[:count]).score(queries) for count in (2, 20, 60)]
    assert (scores[0] >= scores[1] - 1e-4).all() and (scores[1] >= scores[2] - 1e-4).all()


def test_equal_distances_come_in_the_gallerys_order() -> None:
    """Neighbours that change places from run to run, hence pictures that do."""
    gallery = np.tile(np.array([[1, 0], [0, 1], [-1, 0]], np.float32), (4, 1))
    for queries in (1, 30):
        distances, indices = nearest(gallery, np.zeros((queries, 2), np.float32), 5)
        np.testing.assert_allclose(distances, 1)
        np.testing.assert_array_equal(indices, np.tile(np.arange(5), (queries, 1)))


@pytest.mark.parametrize("k", [0, 4, -1])
def test_too_many_neighbours_are_refused(k: int) -> None:
    """Distances to images that do not exist (faiss fills them with the largest float)."""
    with pytest.raises(UsageError, match=rf"`k` must be a whole number in \[1, 3\].*got {k}.*--set k="):
        KNNScorer(k=k).fit(sample(3, 4, 0)).score(sample(2, 4, 1))


def test_the_mean_scorer_is_the_squared_distance_to_the_mean() -> None:
    """A median, a root, or the mean of the queries."""
    gallery, queries = sample(40, 8, 0) + 3, sample(9, 8, 1)
    expected = ((queries - gallery.mean(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(MeanScorer().fit(gallery).score(queries), expected, rtol=1e-5)


def test_one_mean_is_the_mean_and_n_means_are_the_images() -> None:
    """k-means that stops early or scores by another distance."""
    gallery, queries = sample(12, 5, 0), sample(9, 5, 1)
    one = KMeansScorer(means=1).fit(gallery).score(queries)
    np.testing.assert_allclose(one, MeanScorer().fit(gallery).score(queries), rtol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        all_of_them = KMeansScorer(means=12).fit(gallery).score(queries)
    np.testing.assert_allclose(all_of_them, KNNScorer(k=1).fit(gallery).score(queries), rtol=1e-4)


def test_means_find_separate_groups() -> None:
    """Means left where they were drawn first."""
    groups = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    gallery = np.repeat(groups, 20, axis=0) + 0.1 * sample(60, 2, 0)
    assert KMeansScorer(means=3).fit(gallery).score(groups).max() < 0.1
    assert KMeansScorer(means=3).fit(gallery).score(np.array([[25, 25]], np.float32))[0] > 500


def test_more_means_than_images_are_refused() -> None:
    """A traceback of scikit-learn."""
    with pytest.raises(UsageError, match=r"`means` must be in \[1, 4\].*got 5.*--set means=4"):
        KMeansScorer(means=5).fit(sample(4, 3, 0))


@pytest.mark.parametrize(("count", "width"), [(200, 6), (30, 30), (20, 80)])
def test_mahalanobis_equals_sklearn(count: int, width: int) -> None:
    """Another shrinkage, a biased mean, or a precision that is not the inverse; also with N < D."""
    mixing = np.random.default_rng(2).normal(size=(width, width)).astype(np.float32)
    gallery, queries = sample(count, width, 0) @ mixing + 5, sample(12, width, 1) @ mixing + 5
    expected = LedoitWolf().fit(gallery.astype(np.float64)).mahalanobis(queries.astype(np.float64))
    found = MahalanobisScorer().fit(gallery).score(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_mahalanobis_ignores_shifts_turns_and_scale() -> None:
    """A floor or shrinkage that depends on the unit of the features. Where N >> D, any linear map changes little."""
    gallery, queries = sample(3000, 4, 0), sample(9, 4, 1)
    plain = MahalanobisScorer().fit(gallery).score(queries)
    moved = MahalanobisScorer().fit(gallery * 1000 + 7).score(queries * 1000 + 7)
    np.testing.assert_allclose(moved, plain, rtol=1e-2)
    mixing = np.array([[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 3, 1], [0, 0, 0, 1]], np.float32)
    mixed = MahalanobisScorer().fit(gallery @ mixing).score(queries @ mixing)
    np.testing.assert_allclose(mixed, plain, rtol=0.05)


def test_defaults_are_the_papers() -> None:
    """k = 2 and ten means: PANDA's own."""
    assert SCORERS["knn"].options["k"].default == KNNScorer().k == 2
    assert SCORERS["kmeans"].options["means"].default == KMeansScorer().means == 10
