"""The directions in which features are drawn: fixed for a run, or fitted anew."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.runs.adapt.directions import fixed_axes, refitted


def features(rows: int, dims: int, seed: int = 0) -> np.ndarray:
    """Return features with a few strong directions and a mean far away."""
    rng = np.random.default_rng(seed)
    return (5 + rng.normal(size=(rows, dims)) / (1 + np.arange(dims))).astype(np.float32)


@pytest.mark.parametrize(("rows", "dims"), [(60, 40), (30, 200), (8, 3), (2, 5), (6, 1)])
def test_a_refit_is_the_principal_component_analysis_of_that_step(rows: int, dims: int) -> None:
    """Two directions that are not those of largest variance: of other features, of one split, or not yet found."""
    both = features(rows, dims)
    drawn = np.concatenate(refitted(both[: rows // 2], both[rows // 2 :]))
    assert drawn.shape == (rows, 2) and drawn.dtype == np.float32
    largest = np.zeros(2)
    values = np.linalg.svd(both - both.mean(axis=0), compute_uv=False)[:2]
    largest[: len(values)] = values
    assert np.linalg.norm(drawn, axis=0) == pytest.approx(largest, rel=1e-2, abs=1e-4)


def test_a_refit_follows_the_features_and_fixed_axes_do_not() -> None:
    """A switch that shows the fixed projection once more, only enlarged."""
    before = features(80, 30)
    after = before[:, ::-1] * np.float32(1e-3)  # what was strong is weak now
    axes = fixed_axes(before)
    kept = np.square((after - after.mean(axis=0)) @ axes).sum()
    found = np.square(np.concatenate(refitted(after[:40], after[40:]))).sum()
    assert found > 20 * kept


def test_a_refit_sees_what_a_collapse_leaves_and_survives_a_point() -> None:
    """Differences in the seventh digit lost to rounding; a division by zero where nothing differs."""
    tiny = features(40, 10) * np.float32(1e-4) + np.float32(1.0)
    assert np.concatenate(refitted(tiny[:20], tiny[20:])).std(axis=0).min() > 1e-5
    point = np.ones((6, 4), np.float32)
    assert np.array_equal(np.concatenate(refitted(point[:3], point[3:])), np.zeros((6, 2)))


def test_many_images_take_the_directions_of_some() -> None:
    """Images beyond those that the directions come from left out of the picture."""
    train, test = refitted(features(700, 6), features(900, 6, seed=1))
    assert (len(train), len(test)) == (700, 900)
    assert np.abs(train[600:]).max() > 0.1
