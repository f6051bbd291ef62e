"""How far a detector can be trusted, from what it did to images whose truth is known: in one plain sentence."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from panda_core.runs.reading import RecordedRun

CHANCE = 0.025  # how likely a perfect order of the images may be by chance; beyond, no result says anything
GOOD = 0.9  # AUROC from which on a detector tells most images apart: nine of ten pairs
# Images of each kind below which no detector is called good: of 10 bad ones that are all found, up to a quarter of
# others may still be missed (95 %; 1 - 0.05 ** (1 / 10)).
ENOUGH = 10

Level = Literal["unknown", "none", "some", "good"]


@dataclasses.dataclass(frozen=True)
class Trust:
    """How far to trust a detector. level: from "none", perhaps guessing, to "good". sentence: in words."""

    level: Level
    sentence: str


def trust_of(run: RecordedRun) -> Trust:
    """Return how far to trust the detector of a finished run, from the AUROC of its test images and its interval."""
    is_anomaly = np.asarray(run.split.is_anomaly, int)
    normal, anomalous = int((is_anomaly == 0).sum()), int(is_anomaly.sum())
    if run.has_maps:
        last = run.segmented[-1]
        value, low, high = last.image_auroc, last.image_auroc_low, last.image_auroc_high
    else:
        value, low, high = ((run.metrics or {}).get(key) for key in ("auroc", "auroc_low", "auroc_high"))
    return judged(value, low, high, normal=normal, anomalous=anomalous)


def judged(value: float | None, low: float | None, high: float | None, *, normal: int, anomalous: int) -> Trust:
    """Return how far to trust an AUROC with a 95 % interval, of so many normal and anomalous images.

    The interval is a bootstrap's, which is too narrow for few images: two bad ones that both come out on top give 1.00
    to 1.00. So where even the best order of the images comes by chance more often than `CHANCE`, nothing is known.
    """
    if value is None or low is None or high is None or not anomalous or not normal:
        missing = "bad" if not anomalous else "good"
        return Trust("unknown", f"Nobody knows yet: no {missing} image took part. Mark some, or drop some more.")
    told = f"AUROC {value:.2f}, interval {low:.2f} to {high:.2f}"
    if low == 1.0:  # an interval without width, beside words of how little is known
        told = f"AUROC {value:.2f}, every bad one above every good one"
    seen = f"{anomalous} bad and {normal} good images"
    if 1 / math.comb(normal + anomalous, anomalous) > CHANCE:
        return Trust(
            "unknown",
            f"{told}, but from {seen}: too few to tell from chance. Drop more of both.",
        )
    if low <= 0.5:
        return Trust(
            "none", f"{told}: perhaps no better than guessing. Try finer detail, more good images, or the other method."
        )
    if low < GOOD or min(normal, anomalous) < ENOUGH:
        return Trust("some", f"{told}: better than guessing. {seen} leave open how much: drop more of both.")
    return Trust("good", f"{told}: it tells most bad images from good ones, judged by {seen}.")
