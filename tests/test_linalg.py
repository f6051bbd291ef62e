"""Centers, distances, principal components and whitening against slow twins in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panda_core.linalg import (
    center_of,
    leading_directions,
    principal_components,
    singular_values,
    squared_distances,
    whitening,
)


@st.composite
def features(draw: st.DrawFn) -> np.ndarray:
    """Return float32 (N, D): more rows than dimensions or fewer, constant columns, copies, a collapse far away."""
    count, width = draw(st.integers(2, 30)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.normal(size=(count, width)) / (1 + np.arange(width))
    if draw(st.booleans()):
        rows[:, rng.integers(width)] = 3.0
    if draw(st.booleans()):
        rows[count // 2 :] = rows[0]
    scale, offset = draw(st.sampled_from([(1.0, 0.0), (1.0, 100.0), (1e-2, 1000.0), (0.0, 7.0), (1e3, -5e4)]))
    return (scale * rows + offset).astype(np.float32)


def covariance(rows: np.ndarray) -> np.ndarray:
    """Return the covariance (D, D) of rows, over N, one entry at a time."""
    away = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    return np.array([[(first * second).mean() for second in away.T] for first in away.T])


@given(features())
@settings(max_examples=60, deadline=None)
def test_the_center_is_the_mean_for_arrays_and_tensors(rows: np.ndarray) -> None:
    """A mean summed in float32, which is off by more than collapsed features differ; another type than the rows'."""
    expected = rows.astype(np.float64).mean(axis=0)
    for found in (center_of(rows), center_of(torch.from_numpy(rows)).numpy()):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(rows).max())


def test_a_million_rows_far_away_keep_their_center() -> None:
    """A sum in float32 that stops growing: it would be off by 5 % here."""
    rows = np.full((1_000_000, 1), 1000.1, np.float32)
    assert center_of(rows)[0] == rows[0, 0]


@given(features(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_squared_distances_are_those_of_differences(rows: np.ndarray, seed: int) -> None:
    """Distances that drown in rounding where all features are alike, or fall below 0."""
    queries = rows + np.random.default_rng(seed).normal(size=rows.shape).astype(np.float32)
    expected = np.square(queries[:, None].astype(np.float64) - rows[None]).sum(axis=2)
    found = squared_distances(queries, rows)
    assert found.dtype == np.float64 and found.min() >= 0
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * max(1.0, expected.max()))
    assert np.diagonal(squared_distances(rows, rows)).max() <= 1e-12 * max(1.0, expected.max())


@given(features())
@settings(max_examples=100, deadline=None)
def test_components_and_variances_make_up_the_covariance(rows: np.ndarray) -> None:
    """Products around the origin, variances over N - 1, directions in rows, or those of the wrong side of X."""
    variances, directions = principal_components(rows)
    kept, expected = min(rows.shape), covariance(rows)
    rounding = 1e-12 * max(np.trace(expected), np.finfo(np.float64).tiny)
    assert variances.shape == (kept,) and directions.shape == (rows.shape[1], kept)
    assert (variances >= 0).all() and (np.diff(variances) <= rounding).all()
    np.testing.assert_allclose(directions.T @ directions, np.eye(kept), atol=1e-9)
    np.testing.assert_allclose((directions * variances) @ directions.T, expected, rtol=1e-9, atol=rounding)
    largest = np.abs(directions).argmax(axis=0)
    assert (directions[largest, np.arange(kept)] > 0).all(), "a sign that depends on the processor"


@given(features())
@settings(max_examples=60, deadline=None)
def test_leading_directions_hold_as_much_variance_as_the_first_components(rows: np.ndarray) -> None:
    """The last directions, those of the wrong side of X, or directions that are no longer of unit length."""
    centered = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    variances, _ = principal_components(rows)
    found = leading_directions(centered, 2)
    kept = min(2, *rows.shape)
    assert found.shape == (rows.shape[1], kept)
    held = np.square(centered @ found).mean(axis=0)
    np.testing.assert_allclose(held, variances[:kept], rtol=1e-6, atol=1e-9 * max(variances[0], 1e-12))
    np.testing.assert_allclose(found.T @ found, np.eye(kept), atol=1e-9)


@given(features())
@settings(max_examples=60, deadline=None)
def test_singular_values_are_those_of_the_centered_rows(rows: np.ndarray) -> None:
    """The smaller product taken of the wrong side, or of rows that were not centered."""
    away = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    expected = np.linalg.svd(away, compute_uv=False)
    found = singular_values(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=3e-7 * max(expected[0], 1e-12))
    np.testing.assert_allclose(
        np.square(found) / len(rows),
        principal_components(rows)[0],
        atol=1e-12 * max(1e-12, expected[0] ** 2),
        rtol=1e-6,
    )


@pytest.mark.parametrize(("count", "width"), [(50, 6), (2, 1), (40, 39), (5, 20), (2, 9)])
def test_whitened_rows_have_the_covariance_of_noise(count: int, width: int) -> None:
    """A root forgotten, or a division on the other side; also where rows are too few to span all directions."""
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + 100).astype(np.float32)
    variances, directions = principal_components(rows)
    rank = min(count - 1, width)
    found = (rows - center_of(rows)) @ whitening(variances[:rank], directions[:, :rank], 1e-24)
    np.testing.assert_allclose(covariance(found), np.eye(rank), atol=1e-3)


def test_a_direction_without_variance_stays_finite() -> None:
    """A division by zero where features coincide."""
    point = np.full((4, 3), 5.0, np.float32)
    variances, directions = principal_components(point)
    np.testing.assert_array_equal(variances, 0)
    np.testing.assert_allclose(whitening(variances, directions, 1e-4), 100 * directions)
