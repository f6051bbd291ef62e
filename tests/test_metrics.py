"""Metrics against scikit-learn, closed forms and simulations."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from panda_core.errors import UsageError
from panda_core.metrics import auroc, auroc_interval, effective_rank, spectrum

labelled = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


@given(labelled)
def test_auroc_equals_sklearn_and_the_pairwise_definition(rows: list[tuple[int, bool]]) -> None:
    """Ties counted as wins or losses: seven distinct scores for up to forty images are nearly all ties."""
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    pairs = [(a > n) + (a == n) / 2 for a in scores[labels] for n in scores[~labels]]
    assert auroc(scores, labels) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@given(labelled)
def test_auroc_depends_on_the_order_of_scores_alone(rows: list[tuple[int, bool]]) -> None:
    """An AUROC of thresholded or rescaled scores: increasing maps change nothing, negation mirrors."""
    scores, labels = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    value = auroc(scores, labels)
    assert value is not None
    assert auroc(np.exp(scores), labels) == pytest.approx(value, abs=1e-12)
    assert auroc(-scores, labels) == pytest.approx(1 - value, abs=1e-12)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_has_no_auroc(labels: list[int]) -> None:
    """0.5 reported where the AUROC is undefined: a made-up number on a curve."""
    scores = np.array([1.0, 2.0, 3.0])
    assert auroc(scores, np.array(labels)) is None
    assert auroc_interval(scores, np.array(labels), rng=np.random.default_rng(0)) == (None, None)


def test_perfect_and_constant_scores() -> None:
    """Swapped polarity, and constants that win or lose all ties."""
    labels = np.array([0, 0, 1, 1])
    assert auroc(np.array([1, 2, 3, 4]), labels) == 1.0
    assert auroc(np.array([4, 3, 2, 1]), labels) == 0.0
    assert auroc(np.ones(4), labels) == 0.5


@pytest.mark.parametrize("scores", [[0.1, np.nan, 0.3], [0.1, np.inf, 0.3], [0.1, 0.2], [[0.1], [0.2], [0.3]]])
def test_scores_without_a_meaning_are_refused(scores: list[float]) -> None:
    """NaN sorted as the largest score, or labels of other images used without a word."""
    with pytest.raises(UsageError, match="Scores"):
        auroc(np.array(scores), np.array([0, 1, 1]))


def test_interval_covers_the_true_auroc() -> None:
    """An interval that is a decoration: of 400 simulated test sets, about 95 % of intervals hold the true value."""
    rng = np.random.default_rng(0)
    truth = NormalDist().cdf(1 / np.sqrt(2))  # two unit normals, one apart
    labels = np.repeat([0, 1], 40)
    hits = 0
    for _ in range(400):
        low, high = auroc_interval(rng.normal(labels, 1), labels, rng=rng, resamples=200)
        assert low is not None and high is not None
        hits += low <= truth <= high
    assert 0.89 <= hits / 400 <= 0.98  # the percentile bootstrap of 80 images is slightly narrow


def test_interval_is_seeded_and_holds_the_estimate() -> None:
    """Intervals that differ from run to run, or bootstrap other labels than the estimate uses."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [30, 50])
    scores = rng.normal(labels, 1).round(1)
    first = auroc_interval(scores, labels, rng=np.random.default_rng(5))
    assert first == auroc_interval(scores, labels, rng=np.random.default_rng(5))
    assert first != auroc_interval(scores, labels, rng=np.random.default_rng(6))
    value = auroc(scores, labels)
    assert value is not None and first[0] is not None and first[1] is not None
    assert first[0] < value < first[1]
    assert auroc_interval(labels, labels, rng=rng) == (1.0, 1.0)


def test_effective_rank_counts_directions() -> None:
    """A rank that depends on scale, or on directions that hold nothing."""
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.array([3.0, 0, 0])) == pytest.approx(1)
    assert effective_rank(np.zeros(4)) == 0.0
    values = np.array([4.0, 2.0, 1.0, 1.0])
    share = values / 8
    assert effective_rank(values) == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert effective_rank(values * 1e6) == pytest.approx(effective_rank(values))


@pytest.mark.parametrize("shape", [(20, 5), (5, 20), (9, 9)])
def test_spectrum_is_the_singular_values_of_centered_features(shape: tuple[int, int]) -> None:
    """The Gram trick applied to the wrong side, or to features that were not centered."""
    features = (np.random.default_rng(0).normal(size=shape) + 5).astype(np.float32)
    expected = np.linalg.svd(features - features.mean(axis=0, dtype=np.float64), compute_uv=False)
    np.testing.assert_allclose(spectrum(features), expected, atol=1e-4)


def test_spectrum_of_coinciding_features_is_zero() -> None:
    """Rounding noise of collapsed features counted as many equal directions: full rank at the very collapse."""
    point = np.random.default_rng(0).normal(size=300).astype(np.float32)
    noise = np.float32(1e-8) * np.random.default_rng(1).normal(size=(50, 300)).astype(np.float32)
    assert effective_rank(spectrum(np.tile(point, (50, 1)) + noise)) == 0.0
