"""A few patches that cover the rest: greedy k-center selection (PatchCore, Sec. 3.2; Gonzalez 1985)."""

from __future__ import annotations

import numpy as np

from panda_core.events import Computing
from panda_core.linalg import center_of

PROJECTED = 64  # dimensions in which distances are measured while selecting; the paper keeps them open, code uses 128
BREATH = 100  # choices between two moments at which the selection may be stopped
# The next choices are sought among the farthest 1/SHARE of all rows, at least FEWEST, until TOGETHER are made; then all
# others are caught up with in one product, BLOCK rows at a time. The choices are those of looking at all every time,
# in less than half of the time (596 of 596,624 patches, 5,000 of 20,000). SHARE from 8 to 128 makes no difference.
SHARE, FEWEST, TOGETHER, BLOCK = 64, 1024, 256, 1024


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
    rows = np.ascontiguousarray(points - center_of(points), np.float32)
    squares = np.einsum("nd,nd->n", rows, rows)
    nearest = np.full(len(rows), np.inf, np.float32)  # squared, to the chosen rows; chosen ones are -inf and stay so
    chosen = np.empty(count, np.int64)
    yield None
    chosen[0] = rng.integers(len(rows))
    _lower(nearest, rows, squares, chosen[:1])
    number = 1
    while number < count:
        began, (watched, bound) = number, _farthest(nearest)
        columns, own, lengths = np.ascontiguousarray(rows[watched].T), nearest[watched], squares[watched]
        while number < min(count, began + TOGETHER):
            place = int(own.argmax())
            if number > began and own[place] <= bound:
                break
            if number % BREATH == 0:
                yield None
            chosen[number] = watched[place]
            number += 1
            products = np.einsum("dn,d->n", columns, columns[:, place])
            np.minimum(own, lengths + lengths[place] - 2 * products, out=own)
            own[place] = -np.inf  # rounding must not choose a point twice
        _lower(nearest, rows, squares, chosen[began:number])
        nearest[watched] = own
    return np.sort(chosen)


def _farthest(nearest: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the rows, ascending, that lie farthest from the chosen ones, and how far any other may lie.

    Distances only fall. While one of these lies beyond that, the next choice is among them, and all others can wait.
    """
    others = len(nearest) - max(FEWEST, len(nearest) // SHARE)
    if others <= 0:
        return np.arange(len(nearest)), -np.inf
    order = np.argpartition(nearest, others)
    return np.sort(order[others:]), float(nearest[order[:others]].max())


def _lower(nearest: np.ndarray, rows: np.ndarray, squares: np.ndarray, chosen: np.ndarray) -> None:
    """Lower the distances (N,), in place, to those from newly chosen rows where these are nearer."""
    turned, lengths = -2 * rows[chosen].T, squares[chosen]
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        distances = rows[part] @ turned
        distances += lengths
        np.minimum(nearest[part], distances.min(axis=1) + squares[part], out=nearest[part])
    nearest[chosen] = -np.inf
