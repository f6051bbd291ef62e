"""What adapting adds in each space of features, along its course: does it help, where, by how much, at what cost."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from panda_core import Evaluated, RunConfig, run
from panda_core.datasets import find_dataset
from tests.benchmarks.space import DATA, SPACES, interval

Row = dict[str, str]
# Data set, normal classes (None: all), seeds. A seed also draws which images take part, or how a set is split.
SETS: tuple[tuple[str, tuple[str, ...] | None, int], ...] = (
    ("cifar10", None, 1),
    ("digits", ("3", "9"), 3),
    ("elpv", ("mono",), 3),
    ("wbc", None, 3),
    ("magnetic_tiles", None, 3),
)
# A power of two apart: one training at a high rate shows what longer ones at lower rates reach, since a clipped
# gradient moves the weights by the rate alone. The default, 80 steps at 0.1, lies between 5 and 10 of these.
STEPS = (0, 5, 10, 20, 40)
JUDGED = 10  # the step whose gain gets an interval: chosen as the one nearest to the default, not by its figure
COMMON: dict[str, Any] = {
    "recipe": "panda-early",
    "lr": 1.2,
    "steps": STEPS[-1],
    "eval_every": STEPS[1],
    "train_limit": 300,
    "test_limit": 500,
    "data_root": str(DATA),
    "set": {"cut": "blocks.2"},
}
NOTE = (
    "EfficientNet-Lite0 at each set's default size, `panda-early` after blocks.2 at rate 1.2, at most 300 normal "
    "images (some held out to calibrate) and 500 test images; mean of classes times 3 seeds (CIFAR-10: ten classes, "
    "1 seed). AUROC is that of kNN in the space in which the loss is. `gain` is that after 10 steps over none, paired "
    "by class and seed, mean and 95 % interval; `best` the highest mean among the steps shown, so chosen with test "
    "labels; `left` that best minus the whitened space without adapting. `seconds` is the training alone, on the "
    "machine named above, which was busy."
)


def adapting() -> Iterator[Row]:
    """AUROC along an adaptation in each space, beside what whitening gives without one."""
    for key, names, seeds in SETS:
        dataset = find_dataset(key)
        if dataset.missing(DATA):
            yield {"note": f"{key} is not here and is left out."}
            continue
        curves: dict[str, list[list[float]]] = defaultdict(list)
        seconds: dict[str, list[float]] = defaultdict(list)
        for name in names or dataset.classes(DATA):
            for seed in range(seeds):
                for kind in SPACES:
                    curve, took = _curve(dataset=key, normal_class=name, seed=seed, feature_norm=kind)
                    curves[kind].append(curve)
                    seconds[kind].append(took)
        whitened = 100 * np.mean(curves["whiten"], axis=0)[0]
        for kind, words in SPACES.items():
            yield _row(key, words, 100 * np.array(curves[kind]), float(whitened), float(np.mean(seconds[kind])))
    yield {"note": NOTE}


MANY = 1_000
NOTE_OF_MANY = (
    "EfficientNet-Lite0, `panda-early` after blocks.2 at rate 1.2 in the default space, 1,000 normal images, of "
    "which 100 are held out to calibrate, 500 test images, 1 seed: AUROC of kNN before and after 10 steps, and the "
    "gain by class and on the mean, with its 95 % interval over classes. Nothing was chosen here."
)


def many() -> Iterator[Row]:
    """What ten large steps add on CIFAR-10 where there are more images."""
    fields = {**COMMON, "train_limit": MANY, "steps": JUDGED, "eval_every": JUDGED}
    found = {}
    for name in find_dataset("cifar10").classes(DATA):
        with tempfile.TemporaryDirectory() as folder:
            events = run(RunConfig(runs_dir=folder, dataset="cifar10", normal_class=name, **fields))
            found[name] = [100 * float(event.auroc or 0) for event in events if isinstance(event, Evaluated)]
    yield row_of_many(found)
    yield {"note": NOTE_OF_MANY}


def row_of_many(found: dict[str, list[float]]) -> Row:
    """Return the row of AUROC before and after, in percent, by class."""
    before, after = np.array([*found.values()]).T
    gains = after - before
    return {
        "normal images": f"{MANY:,}",
        "before": f"{before.mean():.1f}",
        "after": f"{after.mean():.1f}",
        "gain": interval(gains),
        **{name: f"{gain:+.1f}" for name, gain in zip(found, gains, strict=True)},
    }


def _curve(**fields: Any) -> tuple[list[float], float]:
    """Return the AUROC of a run at each of `STEPS`, and the seconds of its training without evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        began, evaluating, points = 0.0, 0.0, {}
        for event in run(RunConfig(runs_dir=folder, **COMMON, **fields)):
            if isinstance(event, Evaluated):
                began = began or time.monotonic()
                evaluating += event.seconds if event.step else 0.0
                points[event.step] = float(event.auroc or 0)
    return [points[step] for step in STEPS], time.monotonic() - began - evaluating


def _row(key: str, words: str, curves: np.ndarray, whitened: float, seconds: float) -> Row:
    """Return the row of curves (R, steps), in percent, of one set in one space."""
    mean, gains = curves.mean(axis=0), curves[:, STEPS.index(JUDGED)] - curves[:, 0]
    best = float(mean.max())
    return {
        "data": key,
        "space": words,
        **{str(step): f"{value:.1f}" for step, value in zip(STEPS, mean, strict=True)},
        "gain": interval(gains),
        "best": f"{best:.1f}",
        "left": f"{best - whitened:+.1f}",
        "seconds": f"{seconds:.0f}",
    }
