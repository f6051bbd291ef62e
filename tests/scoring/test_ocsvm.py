"""The one-class SVM: what nu and gamma mean, what it sees, and the grid that looks at the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.svm import OneClassSVM

from panda_core.events import CacheProgress
from panda_core.metrics import auroc
from panda_core.runs.adapt import oracle
from panda_core.scoring.ocsvm import OneClassSVMScorer
from panda_core.scoring.table import SCORERS


def sample(count: int, width: int, seed: int, offset: float = 0.0) -> np.ndarray:
    scales = np.linspace(0.2, 2, width)
    return (np.random.default_rng(seed).normal(size=(count, width)) * scales + offset).astype(np.float32)


@pytest.mark.parametrize("nu", [0.02, 0.1, 0.5, 0.9])
def test_nu_bounds_the_normal_images_outside(nu: float) -> None:
    """A boundary inside of which the wrong share of the normal images lies."""
    gallery = sample(150, 5, 0)
    scorer = OneClassSVMScorer(svm_nu=nu).fit(gallery)
    assert (scorer.score(gallery) > 1e-5).mean() <= nu + 1 / 150
    assert (scorer.score(gallery) > -1e-5).mean() >= nu - 1 / 150  # those on the boundary are counted here


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_fixed_setting_is_scikit_learns(offset: float) -> None:
    """Another kernel, sign or width than 1 / (D var)."""
    gallery, queries = sample(80, 6, 0, offset), sample(20, 6, 1, offset) * 1.5
    reference = OneClassSVM(kernel="rbf", nu=0.1, gamma="scale", tol=1e-6).fit(gallery)
    found = OneClassSVMScorer(svm_variance=1.0).fit(gallery).score(queries)
    np.testing.assert_allclose(found, -reference.decision_function(queries), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("count", "width"), [(80, 6), (15, 40)])
def test_components_are_those_of_95_percent_of_the_variance(count: int, width: int) -> None:
    """One component too few, or the smallest ones; also with fewer images than dimensions."""
    gallery, queries = sample(count, width, 0, 3.0), sample(9, width, 1, 3.0)
    components = PCA(0.95, svd_solver="full").fit(gallery.astype(np.float64))
    reference = OneClassSVM(nu=0.1, gamma="scale", tol=1e-6).fit(components.transform(gallery))
    scorer = OneClassSVMScorer().fit(gallery)
    assert scorer.components_ is not None and scorer.components_.shape[1] == components.n_components_ < width
    expected = -reference.decision_function(components.transform(queries))
    np.testing.assert_allclose(scorer.score(queries), expected, rtol=1e-3, atol=1e-4)


def test_an_infinitely_wide_kernel_sees_no_difference() -> None:
    """gamma used upside down: towards 0 all images score alike, and a larger one tells them apart."""
    gallery, queries = sample(60, 5, 0), sample(20, 5, 1)
    assert np.ptp(OneClassSVMScorer(svm_gamma=1e-12).fit(gallery).score(queries)) < 1e-6
    assert np.ptp(OneClassSVMScorer(svm_gamma=0.1).fit(gallery).score(queries)) > 0.1


def test_contrast_normalisation_takes_out_brightness_and_contrast() -> None:
    """Normalised over the images instead of over the pixels of each."""
    gallery, queries = sample(40, 8, 0), sample(9, 8, 1)
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
    gallery, queries = sample(50, 4, 0), sample(40, 4, 1) * 1.4
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
    _, found = searched(sample(10, 3, 0), sample(5, 3, 1), np.zeros(5, np.uint8))
    assert set(found) == {"oracle_grid_auroc", "oracle_grid_gamma", "oracle_grid_nu"}
    assert set(found.values()) == {None}


def test_the_search_can_be_stopped() -> None:
    """Ninety fits that nobody can end."""
    searching = oracle.oracle_grid(sample(10, 3, 0), sample(5, 3, 1), np.ones(5, np.uint8))
    assert sum(next(searching) is None for _ in range(20)) > 15  # at every fit
    searching.close()
