"""The check every scorer makes of the features it is given."""

from __future__ import annotations

import numpy as np

from panda_core.errors import UsageError


def check_features(features: np.ndarray, at_least: int = 1) -> np.ndarray:
    """Return features (N, D) as contiguous float32, or raise `UsageError` for a wrong shape, too few rows or NaN."""
    features = np.ascontiguousarray(features, np.float32)
    if features.ndim != 2 or len(features) < at_least:
        raise UsageError(f"Features must be of shape (N, D) with N of at least {at_least}; got {features.shape}.")
    if not np.isfinite(features).all():
        raise UsageError("Features must be finite; some are NaN or infinite. Lower `--lr`, or check the images.")
    return features
