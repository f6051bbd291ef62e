"""Linear algebra of features, each piece in one place: checks, centers, distances, principal components, whitening.

Rows are images or patches: (N, D). All of it is exact up to rounding, in float64 where digits could be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from panda_core.errors import UsageError

if TYPE_CHECKING:
    import torch

Rows = TypeVar("Rows", np.ndarray, "torch.Tensor")


def check_features(features: np.ndarray, at_least: int = 1) -> np.ndarray:
    """Return features (N, D) as contiguous float32, or raise `UsageError` for a wrong shape, too few rows or NaN."""
    features = np.ascontiguousarray(features, np.float32)
    if features.ndim != 2 or len(features) < at_least:
        raise UsageError(f"Features must be of shape (N, D) with N of at least {at_least}; got {features.shape}.")
    if not np.isfinite(features).all():
        raise UsageError("Features must be finite; some are NaN or infinite. Lower `--lr`, or check the images.")
    return features


def center_of(rows: Rows) -> Rows:
    """Return the mean (D,) of rows (N, D), to be taken away from them before a product.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a b, as searches and kernels find it, is a small difference of large numbers where all
    rows lie far from the origin, as raw features do, and collapsed ones: in float32 nothing is left of it. Distances
    are the same seen from any point c, |(a - c) - (b - c)|^2 = |a - b|^2, and from the mean the numbers are smallest.
    """
    if isinstance(rows, np.ndarray):
        return rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)  # summed in float32, N rows would lose digits
    return rows.mean(dim=0)  # torch sums in blocks, which loses few; not every device has float64


# A search through products finds so many more neighbours than asked for, of which differences then choose: rounding,
# which depends on what else is searched for, would otherwise decide between two rows of nearly equal distance.
MORE = 2
PRODUCTS_FROM = 20  # searches for fewer rows at once go without products


def exact_index(rows: np.ndarray) -> Any:
    """Return faiss's exact index of rows (N, D), float32, already taken from their center.

    For few searches faiss would go through the rows one by one, as long as their number times D is under 128,000: the
    784 patches of an image against 4,704 of a bank then took 43 instead of 14 ms, against 47,000 1,107 instead of 126.
    """
    import faiss

    faiss.cvar.distance_compute_blas_threshold = PRODUCTS_FROM  # the default of earlier releases
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    return index


def nearest_of(queries: np.ndarray, rows: np.ndarray, found: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances (M, k), ascending, and numbers (M, k) of the k nearest among rows (N, D) found before.

    queries: (M, D). found: (M, C), C of k or more: numbers of rows that lie near to each query, in any order.
    Distances are differences: a row that is searched for lies 0 from itself, and no digits are lost where all rows lie
    close together. Of equal distances the lower row comes first.
    """
    found = np.sort(found, axis=1)
    squares = np.empty(found.shape, np.float32)
    for squared, column in zip(squares.T, found.T, strict=True):  # one neighbour at a time, as large as `queries`
        differences = queries - rows[column]
        np.einsum("md,md->m", differences, differences, out=squared)
    order = np.argsort(squares, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(squares, order, axis=1), np.take_along_axis(found, order, axis=1)


def squared_distances(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return float64 (M, N): |q - x|^2 of queries (M, D) and rows (N, D)."""
    rows = np.asarray(rows, np.float64)
    center = center_of(rows)
    a, b = queries - center, rows - center
    distances = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * (a @ b.T)  # (M, N)
    return np.maximum(distances, 0, out=distances)


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances (K,), descending, and directions (D, K), orthonormal, of rows (N, D); float64.

    K is the smaller of N and D. Variances are means of squares, over N and not N - 1. With the singular values s and
    right singular vectors V of the centered rows X = U S V', the covariance is V S^2 V' / N: variances s^2 / N
    along the columns of V. From X'X where rows are many; where they are fewer than dimensions, from X itself, which is
    smaller. The largest entry of each direction is positive: left to the processor's library, signs would decide what a
    random projection of whitened patches (the coreset) makes of them.
    """
    import scipy.linalg

    centered = rows - np.mean(rows, axis=0, dtype=np.float64)
    if len(rows) < rows.shape[1]:
        _, singular, directions = scipy.linalg.svd(centered, full_matrices=False)
        variances = singular**2 / len(rows)
    else:
        ascending, vectors = np.linalg.eigh(centered.T @ centered / len(rows))
        variances, directions = np.maximum(ascending[::-1], 0), vectors.T[::-1]
    return variances, _signed(directions).T


def leading_directions(centered: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` directions (D, count), or as many as there are, of `principal_components` alone.

    centered: (N, D), minus their mean. At 1,000 dimensions, 600 to 1,500 rows take a fifth to a twelfth
    of the time.
    """
    import scipy.linalg

    few = len(centered) < centered.shape[1]
    products = centered @ centered.T if few else centered.T @ centered
    last = [max(0, len(products) - count), len(products) - 1]
    vectors = scipy.linalg.eigh(products, subset_by_index=last)[1][:, ::-1]
    if few:  # orthonormal also where nothing differs along the second
        vectors = np.linalg.qr(centered.T @ vectors)[0]
    return _signed(vectors.T).T


def _signed(directions: np.ndarray) -> np.ndarray:
    """Return directions (K, D), each turned so that its entry of largest size is positive."""
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    return directions * np.where(largest < 0, -1, 1)[:, None]


class Moments:
    """Number, mean and scatter of rows (N, D) that are seen in parts: as much memory for a million rows as for one.

    Exact up to rounding, in float64: parts are joined as by Chan, Golub & LeVeque (1983), and not through sums of
    squares, of which little is left where the mean is large.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = np.zeros(width)  # (D,)
        self.scatter = np.zeros((width, width))  # the sum of outer products of rows minus their mean

    def add(self, rows: np.ndarray) -> None:
        """Take rows (N, D) in."""
        part = Moments(len(self.mean))
        part.count, part.mean = len(rows), np.mean(rows, axis=0, dtype=np.float64)
        centered = rows - part.mean
        part.scatter = centered.T @ centered
        self._take(part)

    @staticmethod
    def joined(parts: Sequence[Moments]) -> Moments:
        """Return the moments of all rows that the parts, at least one, have seen."""
        whole = Moments(len(parts[0].mean))
        for part in parts:
            whole._take(part)
        return whole

    def _take(self, other: Moments) -> None:
        count = self.count + other.count
        if not other.count:
            return
        apart = other.mean - self.mean
        self.scatter = self.scatter + other.scatter + np.outer(apart, apart) * (self.count * other.count / count)
        self.mean = self.mean + apart * (other.count / count)
        self.count = count

    def principal_components(self) -> tuple[np.ndarray, np.ndarray]:
        """Return variances (D,), descending, and directions (D, D), orthonormal; see `principal_components`."""
        variances, directions = np.linalg.eigh(self.scatter / max(self.count, 1))
        return np.maximum(variances[::-1], 0), directions[:, ::-1]


def singular_values(rows: np.ndarray) -> np.ndarray:
    """Return the singular values (min(N, D),), descending, of rows (N, D) minus their mean; float64.

    They are the roots of the eigenvalues of X'X, or of XX', which has the same ones besides zeros: of the smaller.
    Without directions that is several times faster than any decomposition of X, and it is needed at every evaluation;
    values below 1e-8 of the largest drown in rounding.
    """
    centered = rows - np.mean(rows, axis=0, dtype=np.float64)
    gram = centered @ centered.T if len(centered) < centered.shape[1] else centered.T @ centered
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0))


def inverse_roots(variances: np.ndarray, floor: float) -> np.ndarray:
    """Return 1 / sqrt(variances) (K,): along directions so scaled, centered rows have unit variance.

    Variances below `floor` count as `floor`: a direction without variance must not become infinite.
    """
    roots: np.ndarray = 1 / np.sqrt(np.maximum(variances, floor))
    return roots


def whitening(variances: np.ndarray, directions: np.ndarray, floor: float) -> np.ndarray:
    """Return W (D, K), by which centered rows are multiplied to have unit variance along each of the directions.

    The covariance V L V' becomes W' V L V' W = 1 for W = V L^-1/2, and |x' W|^2 = x' V L^-1 V' x is the Mahalanobis
    distance. floor: as in `inverse_roots`.
    """
    return directions * inverse_roots(variances, floor)
