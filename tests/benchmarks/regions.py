"""Figures of the region of interest: cells in the middle of photos whose surroundings change, with it and without."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from panda_core import PandaDetector
from panda_core.datasets import DATASETS
from panda_core.metrics import auroc

Row = dict[str, str]
SEEDS = (0, 1, 2)
SIDE, CELL = 256, 160  # pixels of a photo, and of the cell in its middle
NORMALS, FRESH, DEFECTS = 60, 60, 60
RECIPES: dict[str, dict[str, Any]] = {"frozen": {"image_size": 160}, "patchcore": {"image_size": 160}}
CHANGING, LATER = "surroundings that change", "something beside it that comes later"
AT = slice((SIDE - CELL) // 2, (SIDE + CELL) // 2)
NOTE = (
    f"ELPV, mono-crystalline cells of {CELL} px in the middle of photos of {SIDE} px: {NORMALS} functional ones are "
    f"learned from, {FRESH} fresh ones and {DEFECTS} defective ones are judged. *{CHANGING}*: triangles of all "
    f"colours, others on each photo. *{LATER}*: an even ground, and three triangles on each photo that is judged. The "
    "region of interest is the cell. Shares above the threshold for 5 % false alarms; both recipes at 160 px; seeds "
    f"{SEEDS[0]} to {SEEDS[-1]}: mean (lowest to highest), %."
)


def regions() -> Iterator[Row]:
    """Yield a row for each kind of surroundings, each recipe, without and with a region."""
    yield {"note": NOTE}
    counts = np.zeros((SIDE, SIDE), bool)
    counts[AT, AT] = True
    for kind in (CHANGING, LATER):
        for recipe in RECIPES:
            for what, roi in (("all of it", None), ("the region", counts)):
                found = [_measured(kind, recipe, roi, seed) for seed in SEEDS]
                yield {
                    "around the cell": kind,
                    "recipe": recipe,
                    "counts": what,
                    "false alarms": _spread([one["fresh"] for one in found]),
                    "defects found": _spread([one["defects"] for one in found]),
                    "AUROC": _spread([one["auroc"] for one in found]),
                }


def _spread(values: list[float]) -> str:
    shares = [100 * value for value in values]
    return f"{statistics.mean(shares):.1f} ({min(shares):.1f} to {max(shares):.1f})"


def _measured(kind: str, recipe: str, roi: np.ndarray | None, seed: int) -> dict[str, float]:
    rng, splits = np.random.default_rng(seed), DATASETS["elpv"].open(Path("nowhere"), "mono", seed)
    defective = splits.test.subset(np.nonzero(splits.test_labels != splits.normal_label)[0])
    good, bad = rng.permutation(len(splits.train)), rng.permutation(len(defective))
    learned, fresh, defects = (
        [photo(images.load(int(row)), kind, later, rng) for row in rows]
        for images, rows, later in (
            (splits.train, good[:NORMALS], False),
            (splits.train, good[NORMALS : NORMALS + FRESH], True),
            (defective, bad[:DEFECTS], True),
        )
    )
    detector = PandaDetector(recipe=recipe, seed=seed, roi=roi, **RECIPES[recipe]).fit(learned)
    scores = [detector.anomaly_scores(images) for images in (fresh, defects)]
    shares = [float(detector.calibration.rejects(values).mean()) for values in scores]
    labels = np.repeat(np.array([0, 1], np.uint8), [len(values) for values in scores])
    return {"fresh": shares[0], "defects": shares[1], "auroc": float(auroc(np.concatenate(scores), labels) or 0)}


def photo(cell: np.ndarray, kind: str, later: bool, rng: np.random.Generator) -> np.ndarray:
    """Return a photo with a cell in its middle. later: whether it is one of those that are judged."""
    drawn = np.full((SIDE, SIDE, 3), 128, np.uint8)
    if kind == CHANGING:
        drawn[:] = rng.integers(0, 256, 3)
    for _ in range(25 if kind == CHANGING else 3 * later):
        corners = rng.integers(0, SIDE, (3, 2)).astype(np.int32)
        cv2.fillPoly(drawn, [corners], [int(value) for value in rng.integers(0, 256, 3)])
    drawn[AT, AT] = cv2.resize(cell, (CELL, CELL), interpolation=cv2.INTER_AREA)
    return drawn
