"""Every verdict of this project: which images calibrate, the threshold, who is rejected, and how sure that is.

Nothing else compares a score with a threshold. A run calibrates once; `calibration.json` in its folder holds the
result, and the pages, the report, the command line, `PandaDetector`, bundles and exported graphs read it from there.

Images that calibrate are normal, nothing that judges them was learned from them, and no figure is measured on them: a
tenth of the training images, or, of few, as many as a promise of 5 % takes, at most half. Where nothing is adapted and
images are few, and where patches are compared, each calibrates in turn: it is compared with the others. In a folder of
one's own where these are too few, up to half of its normal test images leave the test set and calibrate as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from panda_core.datasets import OneClassTask
from panda_core.datasets.io.images import JoinedImages
from panda_core.errors import BrokenRun, UsageError
from panda_core.region import Region
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of

if TYPE_CHECKING:
    from panda_core.runs.reading import RecordedRun

RATE = 0.05  # share of fresh normal images that a threshold may reject, unless somebody says otherwise
ENOUGH = 19  # 1 / RATE - 1: with fewer calibrating images no threshold can promise RATE
SHARE = 0.1  # of the training images; PANDA, App. D splits its training features 90 / 10
FOLDS = 20  # groups that calibrate in turn; each costs a space and a scorer of its own, some 0.1 s
FEWEST = 4  # training images of which one is held out
# Scores of one image differ in the sixth digit between batches, processors and exported graphs. An image that comes
# back after it calibrated must not be rejected by its own rounding: this share of a score counts as no difference.
TIE = 1e-4
MAP_MIDDLE = 0.999  # of the pixels of calibrating maps lie below the middle of the colours
CONFIDENCE = 0.95
NORMAL, ANOMALOUS = JUDGED = ("normal", "anomalous")  # the verdicts, where images calibrate


@dataclasses.dataclass(frozen=True)
class FalseAlarms:
    """What a threshold will do to fresh normal images: the expected share of false alarms, and its 95 % interval."""

    expected: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What images that calibrate say of all others.

    scores: (H,) of the calibrating images, higher = more anomalous; H may be 0, and then there is no verdict.
    warning: why the threshold cannot be trusted, a sentence; empty where it can.
    map_low, map_middle: values of calibrating maps at the lower end and in the middle of the colours; None without
        maps. The middle is no threshold: an image is rejected by its score alone.
    """

    scores: np.ndarray
    warning: str = ""
    map_low: float | None = None
    map_middle: float | None = None

    @property
    def images(self) -> int:
        """How many images calibrate."""
        return len(self.scores)

    def threshold(self, rate: float = RATE) -> float | None:
        """Return the score above which a fresh normal image falls with a probability of at most `rate`.

        The conformal quantile of H scores: the ceil((H + 1)(1 - rate))-th smallest, and `TIE` above it. A fresh
        normal image exceeds it with a probability of at most `rate`, whatever the distribution of scores (Vovk et
        al., "Algorithmic learning in a random world", 2005). With H < 1 / rate - 1 no score is high enough to promise
        that: the largest is taken, and the promise is 1 / (H + 1). None where no image calibrates.
        """
        return float(self.edges[self._rank(rate) - 1]) if self.images else None

    def rejects(self, scores: np.ndarray, rate: float = RATE) -> np.ndarray:
        """Return for scores (M,) whether each is rejected, bool (M,); False everywhere where no image calibrates.

        A score that is no number is rejected: nothing says that it is normal.
        """
        threshold = self.threshold(rate)
        return np.zeros(np.shape(scores), bool) if threshold is None else ~(np.asarray(scores, np.float64) <= threshold)

    def verdict(self, score: float, rate: float = RATE) -> str:
        """Return "anomalous", "normal", or "-" where no image calibrates."""
        if not self.images:
            return "-"
        return JUDGED[int(self.rejects(np.array([score]), rate)[0])]

    def percentile(self, score: float) -> float | None:
        """Return the percentage of calibrating images that score lower, in [0, 100]; None where there are none."""
        return 100.0 * float(np.searchsorted(self.edges, score, side="left")) / self.images if self.images else None

    def false_alarms(self, rate: float = RATE) -> FalseAlarms | None:
        """Return what the threshold will do to fresh normal images; None where no image calibrates.

        The threshold is the r-th smallest of H independent scores, so the share of fresh normal images above it is
        distributed as Beta(H - r + 1, r), whatever the scores' continuous distribution (Wilks, "Determination of
        sample sizes for setting tolerance limits", 1941). Where scores tie, there are fewer false alarms than that.
        """
        from scipy.special import betaincinv  # takes a third of the time of a command that computes nothing

        if not self.images:
            return None
        rank = self._rank(rate)
        above = self.images - rank + 1
        low, high = betaincinv(above, rank, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])  # quantiles of Beta
        return FalseAlarms(above / (self.images + 1), float(low), float(high))

    def summary(self, rate: float = RATE) -> dict[str, Any]:
        """Return what commands, reports and exported files tell of the threshold, as a JSON object."""
        alarms = self.false_alarms(rate)
        return {
            "rate": rate,
            "threshold": self.threshold(rate),
            "expected": None if alarms is None else alarms.expected,
            "low": None if alarms is None else alarms.low,
            "high": None if alarms is None else alarms.high,
            "images": self.images,
            "warning": self.warning,
        }

    def sentence(self, rate: float = RATE) -> str:
        """Return what the threshold will do to fresh normal images, as a sentence."""
        alarms = self.false_alarms(rate)
        if alarms is None:
            return "No normal image was held out: there are scores, but no threshold."
        return (
            f"Expected false alarms: {100 * alarms.expected:.1f} % of normal images; with {self.images} to judge by, "
            f"the true share may lie between {100 * alarms.low:.1f} and {100 * alarms.high:.1f} % (95 %)."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of `calibration.json`."""
        return {
            **self.summary(),
            "map_low": self.map_low,
            "map_middle": self.map_middle,
            "scores": np.asarray(self.scores, np.float64).tolist(),
        }

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_json` described; equal to the last digit.

        `ValueError` where its scores are not all numbers.
        """
        low, middle = record["map_low"], record["map_middle"]
        found = Calibration(np.array(record["scores"], np.float64), str(record["warning"]), low, middle)
        if found.scores.ndim != 1 or not np.isfinite(found.scores).all():
            raise ValueError("its scores are not all finite numbers")
        return found

    @property
    def edges(self) -> np.ndarray:
        """The scores (H,), ascending, each with what counts as no difference from it: every threshold is one."""
        scores = np.sort(np.asarray(self.scores, np.float64))
        return scores + TIE * np.abs(scores)

    def _rank(self, rate: float) -> int:
        """Return which of the scores is the threshold, counted from 1, the smallest."""
        if not 0 < rate < 1:
            raise UsageError(f"The false-alarm rate must be in (0, 1); got {rate:g}. Set it to {RATE}.")
        return min(int(np.ceil((self.images + 1) * (1 - rate))), self.images)


def calibration_of(loaded: RecordedRun) -> Calibration:
    """Return the calibration of a run: as recorded, or, while it computes, that of its last step."""
    record = loaded.folder.read(loaded.folder.calibration_file.name)
    if record is None:
        return calibration_at(loaded, "final" if loaded.metrics is not None else None)
    try:
        return Calibration.from_json(record)
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenRun(f"Run `{loaded.run_id}` has a damaged calibration.json: {error}. Compute it again.") from error


def calibration_at(loaded: RecordedRun, step: int | str | None) -> Calibration:
    """Return the calibration of a run at a step, or "final"; None means its last step."""
    last = loaded.results
    if step is None or loaded.has_maps:
        if not last:
            raise BrokenRun(f"Run `{loaded.run_id}` has no scores yet. Wait for its first evaluation.")
        step = last[-1].step if step in (None, "final") else step
    scores = (loaded.final() if isinstance(step, str) else loaded.arrays(step)).held_out_scores
    warning = warning_of(len(scores), str(loaded.config.set.get("calibrate_on", "held-out")))
    if not loaded.has_maps:
        return calibrated(scores, warning)
    (size, sigma), grids = drawing_of(loaded.config), loaded.maps(int(step)).held_out_grids
    return calibrated(scores, warning, grids=grids, size=size, sigma=sigma, region=loaded.region)


def calibrated(
    scores: np.ndarray,
    warning: str = "",
    *,
    grids: np.ndarray | None = None,
    size: int = 0,
    sigma: float = 0.0,
    region: Region | None = None,
) -> Calibration:
    """Return the calibration that scores (H,) of calibrating images give, and the grids (H, g, g) of their maps.

    size, sigma, region: of a full map, see `panda_core.segmentation.maps.full_map`.
    """
    values = np.asarray(scores, np.float64)
    if grids is None or not grids.size:
        return Calibration(values, warning)
    maps = np.stack([full_map(np.asarray(grid, np.float32), size, sigma, region) for grid in grids])
    if region is not None:
        inside = region.inside((maps.shape[1], maps.shape[2]))
        if not inside.any():  # the region is smaller than a pixel of the map: there is nothing to draw
            return Calibration(values, warning)
        maps = maps[:, inside]
    low, middle = np.nanquantile(maps, [0.5, MAP_MIDDLE])
    return Calibration(values, warning, float(low), float(middle))


def typical_score(held_out: np.ndarray, normaliser: float = 1.0) -> float:
    """Return what a typical held-out normal image scores, the unit in which people read scores: always above 0.

    A score has no unit of its own, and shrinks with the features. held_out: (H,) scores at the same step. normaliser:
    what takes the place of their mean where there are none. 1 where neither is a positive number.
    """
    unit = float(held_out.mean(dtype=np.float64)) if len(held_out) else normaliser
    return unit if np.isfinite(unit) and unit > 0 else 1.0


def warning_of(images: int, calibrate_on: str = "held-out") -> str:
    """Return why a threshold cannot be trusted, as a sentence; empty where it can."""
    if calibrate_on == "train":
        return "The images that set the threshold were learned from as well, so that it comes out too low."
    if 0 < images < ENOUGH:
        return (
            f"{images} normal {'image sets' if images == 1 else 'images set'} the threshold; {ENOUGH} are needed to "
            f"promise {100 * RATE:g} % false alarms. Add normal images."
        )
    return ""


def count_held_out(normals: int) -> int:
    """Return how many of the normal training images are held out; none of fewer than 4.

    A tenth, or `ENOUGH` where a tenth is fewer, but at most half: with a tenth of 20 images, a third of fresh normal
    images was rejected.
    """
    return min(max(round(SHARE * normals), ENOUGH), normals // 2) if normals >= FEWEST else 0


def held_out_rows(normals: int, seed: int) -> np.ndarray:
    """Return the held-out rows among `normals` training images: ascending, the same for the whole run."""
    chosen = np.random.default_rng([seed, 1]).permutation(normals)[: count_held_out(normals)]
    return np.sort(chosen)


def calibration_rows(reserved: np.ndarray, seed: int) -> np.ndarray:
    """Return the rows, ascending, of the training images that calibrate.

    reserved: (N,) bool, whether each image was put aside by `with_reserved`: these calibrate, and of the others those
    that `held_out_rows` chooses.
    """
    (own,) = np.nonzero(~reserved)
    return np.sort(np.concatenate([own[held_out_rows(len(own), seed)], np.nonzero(reserved)[0]]))


def in_turn(rows: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the groups, each ascending, in which training images `rows` (N,) calibrate in turn, by the others.

    Empty where a tenth of them is enough to hold out, or where they are too few. New images are compared with all N,
    which lie a little denser than those of a group: that errs towards fewer alarms (cross-conformal prediction: Vovk,
    "Cross-conformal predictors", 2015).
    """
    if round(SHARE * len(rows)) >= ENOUGH or len(rows) < FEWEST:
        return []
    shuffled = np.random.default_rng([seed, 12]).permutation(rows)
    return [np.sort(group) for group in np.array_split(shuffled, min(FOLDS, len(rows)))]


def with_reserved(task: OneClassTask, seed: int, calibrating: int) -> OneClassTask:
    """Return the task with normal test images moved to the training images, to calibrate and for nothing else.

    calibrating: training images that calibrate anyhow. So many are moved, drawn by the seed, as are missing to
    `ENOUGH`, and at most half. They stand at the end of `train`, and `reserved` names their rows. For a folder of one's
    own; the test set of a benchmark stays whole.
    """
    (normal,) = np.nonzero(task.is_anomaly == 0)
    wanted = min(max(0, ENOUGH - calibrating), len(normal) // 2)
    if not wanted:
        return task
    moved = np.sort(np.random.default_rng([seed, 11]).permutation(normal)[:wanted])
    rest = np.setdiff1d(np.arange(len(task.test)), moved)
    return dataclasses.replace(
        task,
        train=JoinedImages((task.train, task.test.subset(moved))),
        test=task.test.subset(rest),
        is_anomaly=task.is_anomaly[rest],
        masks=None if task.masks is None else task.masks.subset(rest),
        kinds=None if task.kinds is None else task.kinds[rest],
        reserved=np.arange(len(task.train), len(task.train) + wanted),
    )
