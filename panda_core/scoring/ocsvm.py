"""One-class SVM with an RBF kernel (Schoelkopf et al. 2001): outside of the boundary around the normal features."""

from __future__ import annotations

import numpy as np

from panda_core.scoring.validation import check_features

TOLERANCE = 1e-6  # of the solver; with its own 1e-3, scores would depend on the order of the images


def squared_distances(queries: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return float64 (M, N): ||q - x||^2 of queries (M, D) and features (N, D), through a product."""
    center = features.mean(axis=0, dtype=np.float64)  # far from the origin the product loses the digits that differ
    a, b = queries - center, features - center
    distances = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * (a @ b.T)
    return np.maximum(distances, 0, out=distances)


class OneClassSVMScorer:
    """Minus the decision function: positive outside of the boundary, negative inside.

    Fixed setting: nu = 0.1, the share of normal images that may lie outside, and gamma = 1 / (D var) with the variance
    of all entries of the features. PANDA's authors choose both with the labels of the test images and do not say what
    the SVM sees. As in the Theano code of DeepSVDD's authors, principal components of 95 % of the variance; their
    contrast normalisation of each image, made for pixels, is an option.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        svm_nu: float = 0.1,
        svm_gamma: float = 0.0,
        svm_variance: float = 0.95,
        svm_contrast: str = "no",
    ) -> None:
        self.nu, self.gamma, self.variance = svm_nu, svm_gamma, svm_variance
        self.contrast = svm_contrast == "yes"

    def fit(self, features: np.ndarray) -> OneClassSVMScorer:
        from sklearn.svm import OneClassSVM

        rows = self._contrasted(check_features(features))
        self.mean_ = rows.mean(axis=0)
        self.directions_ = self._principal(rows - self.mean_) if self.variance < 1 else None
        self.rows_ = self._projected(rows)
        variance = self.rows_.var() * self.rows_.shape[1]
        self.gamma_ = self.gamma or 1 / max(variance, 1e-12)
        kernel = np.exp(-self.gamma_ * squared_distances(self.rows_, self.rows_))
        self.svm_ = OneClassSVM(kernel="precomputed", nu=self.nu, tol=TOLERANCE).fit(kernel)
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        rows = self._projected(self._contrasted(check_features(queries)))
        kernel = np.exp(-self.gamma_ * squared_distances(rows, self.rows_))
        return -self.svm_.decision_function(kernel).astype(np.float32)

    def _contrasted(self, rows: np.ndarray) -> np.ndarray:
        """Return float64 rows (N, D), each minus its mean and over its mean absolute deviation where asked for."""
        rows = rows.astype(np.float64)
        if not self.contrast:
            return rows
        rows -= rows.mean(axis=1, keepdims=True)
        return rows / np.maximum(np.abs(rows).mean(axis=1, keepdims=True), 1e-12)

    def _principal(self, centred: np.ndarray) -> np.ndarray:
        """Return the directions (D, D') of largest variance that together hold the wanted share of it."""
        few = len(centred) < centred.shape[1]  # then X X' has the same variances as X' X, and is smaller
        variance, directions = np.linalg.eigh(centred @ centred.T if few else centred.T @ centred)  # ascending
        variance, directions = np.maximum(variance[::-1], 0), directions[:, ::-1]
        share = np.cumsum(variance) / max(variance.sum(), 1e-300)
        kept = int(np.searchsorted(share, self.variance)) + 1
        if few:
            return centred.T @ (directions[:, :kept] / np.sqrt(np.maximum(variance[:kept], 1e-300)))
        return directions[:, :kept]

    def _projected(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.directions_ is None else (rows - self.mean_) @ self.directions_
