"""Whether a finished run is what it says: its scores computed anew, what sets its threshold, and what it keeps."""

from __future__ import annotations

import dataclasses

import numpy as np

from panda_core.errors import PandaError
from panda_core.runs.kinds import recompute
from panda_core.runs.loaded import LoadedRun

EQUAL = 1e-4  # of the highest score: what rounds otherwise on another machine
OF_DETECTOR = 1e-3  # the same; new images do not pass through the cache, where activations are rounded
BATCH = 64  # images that are decoded at once


@dataclasses.dataclass(frozen=True)
class Verified:
    """Two sets of scores (M,) that must be equal. what: what they are. tolerance: of the highest of `recorded`."""

    what: str
    recorded: np.ndarray
    anew: np.ndarray
    tolerance: float

    @property
    def bit_for_bit(self) -> bool:
        return np.array_equal(self.recorded, self.anew)

    @property
    def scale(self) -> float:
        """The highest recorded score, without its sign."""
        return float(np.abs(self.recorded).max(initial=0))

    @property
    def difference(self) -> float:
        """By how much the two differ at most; infinite where they are not as many."""
        if self.recorded.shape != self.anew.shape:
            return float("inf")
        return float(np.abs(self.recorded - self.anew).max(initial=0))

    @property
    def equal(self) -> bool:
        return self.bit_for_bit or self.difference <= self.tolerance * self.scale


def verify(loaded: LoadedRun) -> list[Verified]:
    """Return what of a finished run was compared with what is computed anew from data, weights and checkpoints.

    The final scores; the scores that set the threshold; and, where the run keeps a detector, what that says of the test
    images: a bank or gallery is read by nothing else. `BrokenRun` if the run is not finished, or its data have changed.
    """
    recorded, anew = loaded.final(), recompute(loaded)
    if recorded.scores.shape != anew.scores.shape:
        raise PandaError(
            f"Not equal: {len(recorded.scores)} recorded scores, {len(anew.scores)} recomputed. The data changed."
        )
    found = [
        Verified("scores", recorded.scores, anew.scores, EQUAL),
        Verified(
            "scores that set the threshold",
            loaded.calibration.scores,
            anew.held_out_scores.astype(np.float64),
            EQUAL,
        ),
    ]
    if loaded.folder.keeps_detector():
        found.append(Verified("scores of its detector", recorded.scores, _of_detector(loaded), OF_DETECTOR))
    return found


def _of_detector(loaded: LoadedRun) -> np.ndarray:
    """Return what the detector that the run keeps says of its test images."""
    detector, images = loaded.detector(), loaded.images("test")
    scores = [
        detector.anomaly_scores([images.load(row) for row in range(start, min(start + BATCH, len(images)))])
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)
