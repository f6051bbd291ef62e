"""Normal images that a run did not learn from: they set the threshold, and say how many false alarms it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from panda_core.datasets.own.folder import PREFIX

if TYPE_CHECKING:
    from panda_core.runs.loaded import LoadedRun


def known_normals(loaded: LoadedRun, of: str = "scores") -> np.ndarray:
    """Return the scores (H,) of normal images that were held out; `of="peaks"` gives their maps' highest values.

    In a folder of one's own the normal images of the test set count as well: their labels say what is normal, as
    those of the training images do, and nothing was learned from them. With fifty photos that is the difference
    between four scores and nineteen. A benchmark's test set is only measured on, never calibrated with.
    """
    step: int | str = "final"
    if loaded.is_segmentation or loaded.metrics is None:
        step = (loaded.segmented if loaded.is_segmentation else loaded.evaluated)[-1].step
    arrays = loaded.arrays(step)
    held_out = np.asarray(arrays[f"held_out_{of}"], np.float64)
    if not loaded.config.dataset.startswith(PREFIX):
        return held_out
    is_normal = np.asarray(loaded.split["is_anomaly"]) == 0
    return np.concatenate([held_out, np.asarray(arrays[of], np.float64)[is_normal]])
