"""The recipes that adapt a pretrained network side by side on CIFAR-10: what each adds, and what it costs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from panda_core import Evaluated, RunConfig, RunStarted, load_run, run
from panda_core.bench.published import published_for
from panda_core.methods.stopping import aggregate, used_checkpoints
from panda_core.methods.table import find_recipe
from panda_core.metrics import auroc

Row = dict[str, str]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SETTINGS: dict[str, Any] = {"dataset": "cifar10", "image_size": 128, "train_limit": 300, "test_limit": 500}
# An evaluation takes as long as dozens of steps, and where only the last checkpoint is scored it changes nothing.
ONCE = 10_000
EVERY = 40  # steps between the checkpoints of the stop rules
# Recipe -> the paper's figure (key in `published.toml`).
ADAPTED = {
    "frozen": "table1/frozen",
    "panda-early": "table4/panda-early",
    "panda-ses": "table4/panda-ses",
    "panda-alarm": "",
    "panda-ewc": "table4/panda-ewc",
    "panda-l2": "",
    "joint": "table4/joint",
    "msc": "msc/cited",
    "panda-oe": "table1/panda-oe",
}
STOPPED = ("panda-ses", "panda-early", "panda-alarm")  # what one training gives, judged in three ways
NOTE = (
    "CIFAR-10 class folders, ten classes, EfficientNet-Lite0 at 128 px, 300 training images a class of which 30 are "
    "held out, 500 test images of all classes, seed 0; every recipe's defaults, the stop rules from checkpoints "
    "every 40 steps. Mean AUROC of the ten classes; `gain` is over `frozen`, paired by class, mean and 95 % "
    "interval. `panda-oe` sees 1,000 photographs of ImageNet as outliers, shrunk to the size of the normal images. "
    "Elastic weights' strength of 10 was chosen with labels (see `elastic`). `seconds` is a whole run, trunk and "
    "evaluations included, on a busy machine. The paper's figures are of a ResNet-152 and all images."
)


def recipes() -> Iterator[Row]:
    """Every recipe beside the unadapted network, over the ten classes."""
    found: dict[str, list[float]] = {recipe: [] for recipe in ADAPTED}
    seconds: dict[str, list[float]] = {recipe: [] for recipe in ADAPTED}
    for name in CLASSES:
        for recipe in ADAPTED:
            if recipe not in STOPPED:
                began = time.monotonic()
                found[recipe].append(_final(normal_class=name, recipe=recipe))
                seconds[recipe].append(time.monotonic() - began)
        began = time.monotonic()
        for recipe, value in _stopped(name).items():
            found[recipe].append(value)
        for recipe in STOPPED:
            seconds[recipe].append(time.monotonic() - began)
    for recipe, values in found.items():
        yield _row(recipe, values, found["frozen"], seconds[recipe])
    yield {"note": NOTE}


def _final(**fields: Any) -> float:
    """Return the AUROC of a run's final scores, in percent."""
    every = None if fields["recipe"] == "frozen" else ONCE
    with tempfile.TemporaryDirectory() as folder:
        events = list(run(RunConfig(runs_dir=folder, eval_every=every, **fields, **SETTINGS)))
    return 100 * float(events[-1].metrics["auroc"])  # type: ignore[attr-defined]


def _stopped(name: str) -> dict[str, float]:
    """Return by recipe the AUROC, in percent, of the stop rules on one and the same training."""
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(normal_class=name, recipe="panda-ses", eval_every=EVERY, runs_dir=folder, **SETTINGS)
        (run_id,) = {event.run_id for event in run(config) if isinstance(event, RunStarted)}
        loaded = load_run(run_id, folder)
        arrays = [loaded.arrays(event.step) for event in used_checkpoints(loaded.evaluated, "alarm", None)]
        curve = {event.step: float(event.auroc or 0) for event in loaded.evaluated if isinstance(event, Evaluated)}
        is_anomaly, by_sample = np.array(loaded.split.is_anomaly), float(loaded.metrics["auroc"])  # type: ignore[index]
    scores = np.stack([array.scores for array in arrays])  # (T, M)
    normalisers = np.array([array.normaliser for array in arrays])
    return {
        "panda-ses": 100 * by_sample,
        "panda-early": 100 * curve[find_recipe("panda-early").steps],
        "panda-alarm": 100 * (auroc(aggregate("alarm", scores, normalisers).scores, is_anomaly) or 0),
    }


def _row(recipe: str, found: list[float], frozen: list[float], seconds: list[float]) -> Row:
    """Return the row of a recipe's AUROC by class, in percent, beside that of the unadapted network."""
    gains = np.subtract(found, frozen)
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    key = ADAPTED[recipe]
    paper = published_for(key, "auroc", "cifar10", CLASSES, whole=True) if key else None
    return {
        "recipe": f"`{recipe}`",
        "steps": str(find_recipe(recipe).steps),
        "mean": f"{statistics.mean(found):.1f}",
        "gain": "" if recipe == "frozen" else f"{gains.mean():+.1f} ± {half:.1f}",
        "seconds": f"{statistics.mean(seconds):.0f}",
        "paper": "" if paper is None else f"{100 * paper.value:.1f}",
        **{name: f"{value:.1f}" for name, value in zip(CLASSES, found, strict=True)},
    }
