"""A few patches that cover the rest: greedy k-center selection (PatchCore, Sec. 3.2; Gonzalez 1985)."""

from __future__ import annotations

import numpy as np

from panda_core.events import Computing
from panda_core.linalg import center_of

PROJECTED = 64  # dimensions in which distances are measured while selecting; the paper keeps them open, code uses 128
BREATH = 100  # choices between two moments at which the selection may be stopped


def k_centers(
    points: np.ndarray,
    count: int,
    *,
    rng: np.random.Generator,
    projected: int = PROJECTED,
) -> Computing[np.ndarray]:
    """Return `count` distinct rows of points (N, D), each the one farthest from those before it; the first is random.

    The largest distance of any point to the nearest chosen one is at most twice the smallest possible with as many
    (Gonzalez 1985), in the space where it is measured: a random projection to `projected` dimensions where D is
    larger (Johnson & Lindenstrauss 1984), the points themselves elsewhere. Yields every `BREATH` choices.
    """
    if count >= len(points):
        return np.arange(len(points))
    if points.shape[1] > projected:
        points = points @ (rng.standard_normal((points.shape[1], projected), np.float32) / np.sqrt(projected))
    # Without BLAS, whose threads wait for one another at each of thousands of small products: on two busy cores a fit
    # to 35 images took seven times the processor time.
    columns = np.ascontiguousarray((points - center_of(points)).T, np.float32)  # (D', N)
    squares = np.einsum("dn,dn->n", columns, columns)
    chosen = np.empty(count, np.int64)
    nearest = np.full(len(points), np.inf, np.float32)
    pick = int(rng.integers(len(points)))
    for number in range(count):
        if number % BREATH == 0:
            yield None
        chosen[number] = pick
        products = np.einsum("dn,d->n", columns, columns[:, pick])
        np.minimum(nearest, squares + squares[pick] - 2 * products, out=nearest)
        nearest[pick] = -np.inf  # and it stays: rounding must not choose a point twice
        pick = int(nearest.argmax())
    return np.sort(chosen)
