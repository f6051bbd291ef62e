"""Each scorer against its formula, brute force and scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

from panda_core.errors import UsageError
from panda_core.events import CacheProgress
from panda_core.metrics import auroc
from panda_core.runs.adapt import results as oracle
from panda_core.scoring.knn import KNNScorer, nearest
from panda_core.scoring.mahalanobis import MahalanobisScorer
from panda_core.scoring.means import KMeansScorer, MeanScorer
from panda_core.scoring.ocsvm import OneClassSVMScorer
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


def scaled(count: int, width: int, seed: int, offset: float = 0.0) -> np.ndarray:
    scales = np.linspace(0.2, 2, width)
    return (np.random.default_rng(seed).normal(size=(count, width)) * scales + offset).astype(np.float32)


@pytest.mark.parametrize("nu", [0.02, 0.1, 0.5, 0.9])
def test_nu_bounds_the_normal_images_outside(nu: float) -> None:
    """A boundary inside of which the wrong share of the normal images lies."""
    gallery = scaled(150, 5, 0)
    scorer = OneClassSVMScorer(svm_nu=nu).fit(gallery)
    assert (scorer.score(gallery) > 1e-5).mean() <= nu + 1 / 150
    assert (scorer.score(gallery) > -1e-5).mean() >= nu - 1 / 150  # those on the boundary are counted here


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_fixed_setting_is_scikit_learns(offset: float) -> None:
    """Another kernel, sign or width than 1 / (D var)."""
    gallery, queries = scaled(80, 6, 0, offset), scaled(20, 6, 1, offset) * 1.5
    reference = OneClassSVM(kernel="rbf", nu=0.1, gamma="scale", tol=1e-6).fit(gallery)
    found = OneClassSVMScorer(svm_variance=1.0).fit(gallery).score(queries)
    np.testing.assert_allclose(found, -reference.decision_function(queries), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("count", "width"), [(80, 6), (15, 40)])
def test_components_are_those_of_95_percent_of_the_variance(count: int, width: int) -> None:
    """One component too few, or the smallest ones; also with fewer images than dimensions."""
    gallery, queries = scaled(count, width, 0, 3.0), scaled(9, width, 1, 3.0)
    components = PCA(0.95, svd_solver="full").fit(gallery.astype(np.float64))
    reference = OneClassSVM(nu=0.1, gamma="scale", tol=1e-6).fit(components.transform(gallery))
    scorer = OneClassSVMScorer().fit(gallery)
    assert scorer.components_ is not None and scorer.components_.shape[1] == components.n_components_ < width
    expected = -reference.decision_function(components.transform(queries))
    np.testing.assert_allclose(scorer.score(queries), expected, rtol=1e-3, atol=1e-4)


def test_an_infinitely_wide_kernel_sees_no_difference() -> None:
    """gamma used upside down: towards 0 all images score alike, and a larger one tells them apart."""
    gallery, queries = scaled(60, 5, 0), scaled(20, 5, 1)
    assert np.ptp(OneClassSVMScorer(svm_gamma=1e-12).fit(gallery).score(queries)) < 1e-6
    assert np.ptp(OneClassSVMScorer(svm_gamma=0.1).fit(gallery).score(queries)) > 0.1


def test_contrast_normalisation_takes_out_brightness_and_contrast() -> None:
    """Normalised over the images instead of over the pixels of each."""
    gallery, queries = scaled(40, 8, 0), scaled(9, 8, 1)
    changed = queries * np.float32(3) + np.float32(11)
    scorer = OneClassSVMScorer(svm_contrast="yes").fit(gallery)
    np.testing.assert_allclose(scorer.score(changed), scorer.score(queries), atol=1e-4)
    plain = OneClassSVMScorer().fit(gallery)
    assert np.abs(plain.score(changed) - plain.score(queries)).max() > 0.1


def test_defaults_are_the_fixed_setting() -> None:
    """An option whose default differs from the class's own."""
    options = {key: option.default for key, option in SCORERS["ocsvm"].options.items()}
    assert options == {"svm_nu": 0.1, "svm_gamma": 0.0, "svm_variance": 0.95, "svm_contrast": "no"}


def searched(*arguments: Any) -> tuple[list[CacheProgress], dict[str, Any]]:
    searching, marks = oracle.oracle_grid(*arguments), list[CacheProgress]()
    while True:
        try:
            item = next(searching)
        except StopIteration as end:
            return marks, end.value
        marks += [item] if isinstance(item, CacheProgress) else []


def test_the_oracle_is_the_best_of_the_papers_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the grid left out, or nu and gamma confused: against scikit-learn on every point of a smaller grid."""
    np.testing.assert_allclose(oracle.NUS, np.arange(1, 10) / 10)
    np.testing.assert_allclose(oracle.GAMMAS, 2.0 ** np.arange(-7, 3))
    monkeypatch.setattr(oracle, "NUS", (0.1, 0.6))
    monkeypatch.setattr(oracle, "GAMMAS", (2.0**-7, 0.25, 4.0))
    gallery, queries = scaled(50, 4, 0), scaled(40, 4, 1) * 1.4
    labels = (np.random.default_rng(2).random(40) < 0.5).astype(np.uint8)
    tried = {
        (gamma, nu): auroc(-OneClassSVM(nu=nu, gamma=gamma).fit(gallery).decision_function(queries), labels)
        for gamma in oracle.GAMMAS
        for nu in oracle.NUS
    }
    marks, found = searched(gallery, queries, labels)
    best = max(tried.values())  # type: ignore[type-var]
    assert found["oracle_grid_auroc"] == pytest.approx(best, abs=1e-9)
    assert tried[found["oracle_grid_gamma"], found["oracle_grid_nu"]] == pytest.approx(best, abs=1e-9)
    assert len(set(tried.values())) > 1
    assert [mark.done for mark in marks] == [0, 2, 4, 6] and {mark.total for mark in marks} == {6}


def test_the_oracle_of_one_class_is_none() -> None:
    """0.5, or a failure after the run, where there are no anomalies to choose by."""
    _, found = searched(scaled(10, 3, 0), scaled(5, 3, 1), np.zeros(5, np.uint8))
    assert set(found) == {"oracle_grid_auroc", "oracle_grid_gamma", "oracle_grid_nu"}
    assert set(found.values()) == {None}


def test_the_search_can_be_stopped() -> None:
    """Ninety fits that nobody can end."""
    searching = oracle.oracle_grid(scaled(10, 3, 0), scaled(5, 3, 1), np.ones(5, np.uint8))
    assert sum(next(searching) is None for _ in range(20)) > 15  # at every fit
    searching.close()


@pytest.mark.parametrize("count", [3, 11, 12, 13, 30])
def test_mahalanobis_of_few_images_is_that_of_the_whole_covariance(count: int) -> None:
    """Directions that few images do not span, left out or with another variance than the shrunk covariance gives."""
    rng = np.random.default_rng(count)
    features, queries = (rng.normal(2, [3.0, *np.ones(11)], (rows, 12)).astype(np.float32) for rows in (count, 5))
    estimate = LedoitWolf().fit(features.astype(np.float64))
    away = queries - estimate.location_
    expected = np.einsum("qi,ij,qj->q", away, np.linalg.inv(estimate.covariance_), away)
    np.testing.assert_allclose(MahalanobisScorer().fit(features).score(queries), expected, rtol=1e-6)
