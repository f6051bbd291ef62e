"""Two directions in which features of many dimensions are drawn: fixed once for a run, or, to compare, fitted anew."""

from __future__ import annotations

import numpy as np

from panda_core.linalg import principal_components

ENOUGH = 500  # images of each split that a refit looks at


def fixed_axes(features: np.ndarray) -> np.ndarray:
    """Return the two directions (D', 2) of largest variance of features (N, D'); a second one of zeros if D' is 1."""
    return _two(principal_components(features)[1])


def refitted(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D') and (M, D') in the two directions of their own largest variance: (N, 2) and (M, 2).

    That is what a chart shows whose projection is fitted anew at each step. The directions are found among `ENOUGH`
    images of each split, by a randomised search, since they are only looked at: exact ones of many images and
    dimensions would take longer than measuring all the rest.
    """
    from sklearn.utils.extmath import randomized_svd

    sample = np.concatenate([train[:ENOUGH], test[:ENOUGH]])
    center = sample.mean(axis=0, dtype=np.float64)  # after a collapse, images differ in the seventh digit
    # Seeded on its own: the same directions every time, and the run draws the numbers that it would draw without.
    directions = randomized_svd(sample - center, n_components=min(2, *sample.shape), random_state=0)[2].T
    axes = _two(directions)
    return ((train - center) @ axes).astype(np.float32), ((test - center) @ axes).astype(np.float32)


def _two(directions: np.ndarray) -> np.ndarray:
    """Return the first two of directions (D', K), each with its sign chosen for good: its largest entry is positive."""
    axes = np.zeros((len(directions), 2), np.float32)
    axes[:, : directions.shape[1]] = directions[:, :2]
    return axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
