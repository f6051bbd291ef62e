"""One-class SVM with an RBF kernel (Schoelkopf et al. 2001): outside of the boundary around the normal features."""

from __future__ import annotations

import numpy as np

from panda_core.linalg import check_features, principal_components

TOLERANCE = 1e-6  # of the solver; with its own 1e-3, scores would depend on the order of the images
FLAT = 1e-12  # an image of one colour has no contrast, and must not become infinite


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
        self.components_ = self._components(rows) if self.variance < 1 else None
        svm = OneClassSVM(gamma=self.gamma or "scale", nu=self.nu, tol=TOLERANCE)  # an RBF kernel
        self.svm_ = svm.fit(self._projected(rows))
        return self

    def score(self, queries: np.ndarray) -> np.ndarray:
        rows = self._projected(self._contrasted(check_features(queries)))
        return -self.svm_.decision_function(rows).astype(np.float32)

    def _contrasted(self, rows: np.ndarray) -> np.ndarray:
        """Return float64 rows (N, D), each minus its mean and over its mean absolute deviation where asked for."""
        rows = rows.astype(np.float64)
        if not self.contrast:
            return rows
        rows -= rows.mean(axis=1, keepdims=True)
        return rows / np.maximum(np.abs(rows).mean(axis=1, keepdims=True), FLAT)

    def _components(self, rows: np.ndarray) -> np.ndarray:
        """Return the directions (D, D') of largest variance that together hold the wanted share of it."""
        variances, directions = principal_components(rows)
        shares = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float64).tiny)
        return directions[:, : int(np.searchsorted(shares, self.variance)) + 1]

    def _projected(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.components_ is None else (rows - self.mean_) @ self.components_
