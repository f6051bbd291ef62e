"""Two directions in which features of many dimensions are drawn: fixed once for a run, or, to compare, fitted anew."""

from __future__ import annotations

import numpy as np

ENOUGH = 500
ROUNDS = 6


def fixed_axes(features: np.ndarray) -> np.ndarray:
    """Return the two directions (D', 2) of largest variance of features (N, D'); a second one of zeros if D' is 1."""
    centred = features - features.mean(axis=0)
    if 2 * len(centred) < centred.shape[1]:  # seconds faster than the (D', D') covariance where images are few
        directions = np.linalg.svd(centred, full_matrices=False)[2].T
    else:
        directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    return _two(directions)


def refitted(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D') and (M, D') in the two directions of their own largest variance: (N, 2) and (M, 2).

    That is what a chart shows whose projection is fitted anew at each step. The directions are found among `ENOUGH`
    images of each split by a few rounds of power iteration, since they are only looked at: exact ones of many images
    and dimensions would take longer than measuring all the rest.
    """
    some = np.concatenate([train[:ENOUGH], test[:ENOUGH]])
    middle = some.mean(axis=0, dtype=np.float64)  # after a collapse, images differ in the seventh digit
    centred = some - middle
    unit = float(np.abs(centred).max()) or 1.0
    centred = (centred / unit).astype(np.float32)
    # Seeded on its own: the same directions every time, and the run draws the numbers that it would draw without.
    basis = np.random.default_rng(0).normal(size=(centred.shape[1], min(6, *centred.shape))).astype(np.float32)
    for _ in range(ROUNDS):
        basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
    axes = _two(basis @ np.linalg.svd(centred @ basis, full_matrices=False)[2].T)
    return ((train - middle) @ axes).astype(np.float32), ((test - middle) @ axes).astype(np.float32)


def _two(directions: np.ndarray) -> np.ndarray:
    """Return the first two of directions (D', K), each with its sign chosen for good."""
    axes = np.zeros((len(directions), 2), np.float32)
    axes[:, : directions.shape[1]] = directions[:, :2]
    return axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
