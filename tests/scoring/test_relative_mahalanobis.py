"""Distance to the normal images over distance to the background: its formula and its direction."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from panda_core.scoring.mahalanobis import MahalanobisScorer
from panda_core.scoring.relative_mahalanobis import RelativeMahalanobisScorer


@dataclasses.dataclass
class Around:
    """Distances (x - mean)' precision (x - mean), one image after the other."""

    mean: np.ndarray
    precision: np.ndarray
    far: float = math.inf

    def distances(self, features: np.ndarray) -> np.ndarray:
        return np.array([(row - self.mean) @ self.precision @ (row - self.mean) for row in features.astype(np.float64)])


def rows(count: int, seed: int, width: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, width)) * np.linspace(0.5, 3, width) + 1).astype(np.float32)


@pytest.mark.parametrize("count", [40, 5])
def test_it_orders_as_the_difference_of_logarithms(count: int) -> None:
    """One of the distances upside down or under a root; a covariance of the background for the normal images."""
    background = Around(np.arange(8.0), np.diag(1 / np.arange(1.0, 9.0)))
    normal, queries = rows(count, 0), rows(30, 1)
    found = RelativeMahalanobisScorer(background=background).fit(normal).score(queries)
    estimate = LedoitWolf().fit(normal.astype(np.float64))
    wanted = np.log(Around(estimate.location_, estimate.precision_).distances(queries))
    wanted -= np.log(background.distances(queries))
    assert (found > 0).all()  # what stop rules divide by must not change its sign
    np.testing.assert_allclose(np.log(found), wanted, rtol=1e-4, atol=1e-4)


def test_of_two_images_as_far_from_the_normal_ones_the_commoner_is_more_anomalous() -> None:
    """The background subtracted the wrong way: what is strange to everything would be reported first."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(4000, 2)).astype(np.float32)
    background = Around(np.array([5.0, 0.0]), np.eye(2) / 9)
    common, strange = (
        RelativeMahalanobisScorer(background=background).fit(normal).score(np.array([[4, 0], [-4, 0]], np.float32))
    )
    assert common > 10 * strange


def test_an_image_on_the_mean_of_the_background_has_a_finite_score() -> None:
    """A division by nothing."""
    background = Around(np.zeros(8), np.eye(8))
    scores = RelativeMahalanobisScorer(background=background).fit(rows(20, 0)).score(np.zeros((1, 8), np.float32))
    assert np.isfinite(scores).all() and scores > 1e6


def test_a_background_far_from_the_normal_images_is_left_out() -> None:
    """Points lost by distances that tell nothing; a score that jumps at the line between."""
    normal, queries = rows(60, 0), rows(30, 1)
    around = Around(np.full(8, 9.0), np.eye(8))
    typical = float(np.median(around.distances(normal)))
    plain = MahalanobisScorer().fit(normal).score(queries)
    left_out, compared = (
        RelativeMahalanobisScorer(background=dataclasses.replace(around, far=typical * by)).fit(normal).score(queries)
        for by in (0.999, 1.001)
    )
    np.testing.assert_allclose(left_out * 0.999 * typical, plain, rtol=1e-5)
    np.testing.assert_allclose(compared * around.distances(queries), plain, rtol=1e-5)
    assert np.median(left_out / compared) == pytest.approx(1, abs=0.5)
