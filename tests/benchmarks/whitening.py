"""What adapting learns in spaces that are not whitened, beside what whitening gives without any adapting."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from panda_core import RunConfig, RunStarted, load_run, run
from panda_core.datasets import find_dataset
from tests.benchmarks.adapting import COMMON
from tests.benchmarks.alarm import stopped_by_alarm
from tests.benchmarks.space import DATA, SPACES, interval

Row = dict[str, str]
# Data set, and the normal classes (None: all).
SETS: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    ("digits", ("3", "9")),
    ("elpv", ("mono", "poly")),
    ("wbc", None),
    ("magnetic_tiles", None),
    ("cifar10", ("cat", "horse", "ship")),
)
SEEDS = 3
SIDES = {"wbc": 96, "magnetic_tiles": 96}  # pixels, where it is not the side of all others
SMALL = {"image_size": 64, "batch_size": 16, "eval_every": 10, "train_limit": 200, "test_limit": 300}
SHARED: dict[str, Any] = {**COMMON, **SMALL}
STEPS = tuple(range(0, SHARED["steps"] + 1, SHARED["eval_every"]))
NOTE = (
    "EfficientNet-Lite0, `panda-early` after blocks.2 at rate 1.2, 40 steps of 16 images, blood cells and tiles at 96 "
    "px, all else at 64; at most 200 normal images, some held out to calibrate, and 300 test images; digits 3 and 9, "
    "mono and poly cells, four kinds of blood cells, tiles, and cat, horse and ship of CIFAR-10; seeds 0 to 2, each "
    "with images or a split of its own. AUROC of kNN over optimiser steps, in the space in which the loss is; "
    "`whitened` is that of the same images in the default space without adapting, which every run in another space "
    "measures at its start. The rate is that of `adapting`; these figures had no part in it. Differences are paired by "
    "class and seed, mean and 95 % interval. `best` is the step of the highest mean in its row, chosen with test "
    "labels, which favours adapting; `end` the last step; `alarm` what `panda-alarm` makes of the same run, without "
    "labels."
)


class Adapted(NamedTuple):
    """One run, in AUROC points: its curve, the whitened space without adapting, and what the alarm makes of it."""

    curve: list[float]
    whitened: float
    by_alarm: float


def whitening() -> Iterator[Row]:
    """AUROC along an adaptation of features as they are and of unit length, beside the whitened, unadapted one."""
    found: dict[tuple[str, str], list[Adapted]] = defaultdict(list)
    for key, names in SETS:
        dataset = find_dataset(key)
        if dataset.missing(DATA):
            yield {"note": f"{key} is not here and is left out."}
            continue
        for kind in ("none", "l2"):
            for name in names or dataset.classes(DATA):
                for seed in range(SEEDS):
                    fields = {"dataset": key, "normal_class": name, "seed": seed, "feature_norm": kind}
                    fields |= {"image_size": SIDES[key]} if key in SIDES else {}
                    found[key, kind].append(adapted(RunConfig(**{**SHARED, **fields})))
    for (key, kind), runs in found.items():
        yield curve_row(key, kind, runs)
    for (key, kind), runs in found.items():
        yield gain_row(key, kind, runs)
    yield {"note": NOTE}


def adapted(config: RunConfig) -> Adapted:
    """Return what a run in another than the whitened space measured."""
    with tempfile.TemporaryDirectory() as folder:
        events = run(config.replace(runs_dir=folder))
        (run_id,) = {event.run_id for event in events if isinstance(event, RunStarted)}
        loaded = load_run(run_id, folder)
        points = [100 * float(event.auroc or 0) for event in loaded.evaluated]
        whitened = 100 * float(loaded.evaluated[0].whitened_auroc or 0)
        return Adapted(points, whitened, stopped_by_alarm(loaded))


def curve_row(key: str, kind: str, runs: Sequence[Adapted]) -> Row:
    """Return the mean curve of a set's runs in one space, and the mean without adapting in the whitened one."""
    mean = np.mean([one.curve for one in runs], axis=0)
    cells = {str(step): f"{value:.1f}" for step, value in zip(STEPS, mean, strict=True)}
    whitened = float(np.mean([one.whitened for one in runs]))
    return {"data": key, "space": SPACES[kind], **cells, "whitened, not adapted": f"{whitened:.1f}"}


def gain_row(key: str, kind: str, runs: Sequence[Adapted]) -> Row:
    """Return the paired differences of a set's runs in one space."""
    curves, whitened = np.array([one.curve for one in runs]), np.array([one.whitened for one in runs])
    best = int(curves.mean(axis=0).argmax())
    alarm = np.array([one.by_alarm for one in runs])
    return {
        "data": key,
        "space": SPACES[kind],
        "pairs": str(len(runs)),
        "whitened - start": interval(whitened - curves[:, 0]),
        "best at": str(STEPS[best]),
        "best - start": interval(curves[:, best] - curves[:, 0]),
        "best - whitened": interval(curves[:, best] - whitened),
        "end - whitened": interval(curves[:, -1] - whitened),
        "alarm - start": interval(alarm - curves[:, 0]),
        "alarm - whitened": interval(alarm - whitened),
    }
