"""The scores of one run at one step, and what follows from them: threshold, verdicts, orders."""

from __future__ import annotations

import dataclasses

import numpy as np

from pages.shared.frame.glossary import tip
from panda_core.errors import BrokenRun
from panda_core.metrics import auroc
from panda_core.runs.calibration import RATE, Calibration, calibration_at, typical_score
from panda_core.runs.loaded import LoadedRun

FINAL = "final"
ORDERS = {
    "most anomalous": "All test images, the highest score first.",
    "least anomalous": "All test images, the lowest score first.",
    "false alarms": "Normal images, the highest score first: the worst mistakes on normal images.",
    "missed": "Anomalies, the lowest score first: the worst mistakes on anomalies.",
}


@dataclasses.dataclass(frozen=True)
class StepScores:
    """The test images of a run at one step, judged at one rate of false alarms.

    names: M of them.
    scores: (M,), higher = more anomalous; a typical held-out normal image has 1, without maps.
    is_anomaly: (M,), 0 or 1.
    steps: (M,), the checkpoint behind each score.
    calibration: of these scores, in the same unit.
    unit: what the run itself gives a typical held-out normal image, by which its scores are divided here.
    rate: of false alarms that are allowed.
    final: whether these are the run's own scores, not those of a step that somebody looks at.
    """

    names: list[str]
    scores: np.ndarray
    is_anomaly: np.ndarray
    steps: np.ndarray
    calibration: Calibration
    unit: float = 1.0
    rate: float = RATE
    final: bool = False

    @property
    def threshold(self) -> float | None:
        """The score above which at most `rate` of fresh normal images falls; None where none was held out."""
        return self.calibration.threshold(self.rate)

    @property
    def rejected(self) -> np.ndarray:
        """Whether each image is rejected, bool (M,)."""
        return self.calibration.rejects(self.scores, self.rate)

    def auroc(self) -> float | None:
        return auroc(self.scores, self.is_anomaly)

    def percentile(self, image: int) -> float | None:
        """Return the percentage of held-out normal images that score below an image; None without held-out."""
        return self.calibration.percentile(float(self.scores[image]))

    def above(self, label: int) -> tuple[int, int]:
        """Return how many images of a label are rejected, and how many there are."""
        members = self.rejected[self.is_anomaly == label]
        return int(members.sum()), len(members)

    def order(self, name: str) -> np.ndarray:
        """Return the images of one of `ORDERS`, in its order."""
        ascending = np.argsort(self.scores, kind="stable")
        if name == "false alarms":
            return ascending[::-1][self.is_anomaly[ascending[::-1]] == 0]
        if name == "missed":
            return ascending[self.is_anomaly[ascending] == 1]
        return ascending if name == "least anomalous" else ascending[::-1]


def unit_of_scores(run: LoadedRun) -> str:
    """Return what the scores of a run's images are measured in, in words."""
    if not run.has_maps:
        return tip("score")
    return tip("map_score_spread" if run.config.set.get("image_score") == "part-or-whole" else "map_score")


def scores_of(run: LoadedRun, step: int | str, rate: float = RATE) -> StepScores:
    """Return the scores of a run at a step, or its final ones; rate: of false alarms that are allowed."""
    split, scores = run.split, np.asarray(run.scores_at(step), np.float64)
    steps = run.final().step if isinstance(step, str) else np.full(len(scores), step)
    calibration = run.calibration if step == FINAL else calibration_at(run, step)
    unit = 1.0  # scores of patches are measured in what held-out normal patches score already
    if not run.has_maps:
        unit = typical_score(calibration.scores, 1.0 if isinstance(step, str) else run.folder.normaliser(step))
    scored = StepScores(
        list(split.test),
        scores / unit,
        np.asarray(split.is_anomaly, int),
        steps,
        dataclasses.replace(calibration, scores=calibration.scores / unit),
        unit,
        rate,
        step == FINAL,
    )
    if not len(scored.names) == len(scores) == len(scored.is_anomaly):
        raise BrokenRun(f"Run `{run.run_id}` lists other images than it has scores for. Compute it again.")
    return scored
