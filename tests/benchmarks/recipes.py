"""Figures of the recipes side by side on CIFAR-10: what adapting adds."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from panda_core import Evaluated, RunConfig, RunStarted, load_run, run
from panda_core.bench.published import published_for
from panda_core.methods.stopping import aggregate, used_checkpoints
from panda_core.methods.table import find_recipe
from panda_core.metrics import auroc

Figures = tuple[str, str, str, str]  # what, measured, target, how
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Two cores have minutes for this, not days: smaller images than the 128 px at which the networks do best.
SMALL: dict[str, Any] = {"dataset": "cifar10", "image_size": 64, "train_limit": 300, "test_limit": 500}
HOW = "CIFAR-10 class folders, 64 px, 300 train, 500 test images a class, seed 0; every recipe's defaults but as said"
# The size that suits the network.
LARGE: dict[str, Any] = {"dataset": "cifar10", "image_size": 128, "train_limit": 1000, "test_limit": 1000}
HOW_LARGE = (
    "CIFAR-10 class folders, EfficientNet-Lite0, 128 px, 1,000 train images a class of which 100 are held out, "
    "1,000 test images of all classes, seed 0; every recipe's defaults"
)
# An evaluation takes as long as dozens of steps, and where only the last checkpoint is scored it changes nothing.
ONCE = 10_000
EVERY = 40  # steps between the checkpoints of the stop rules
# Recipe -> the paper's figure (key in `published.toml`), what is aimed at besides measuring.
ADAPTED: dict[str, tuple[str, str]] = {
    "frozen": ("table1/frozen", ""),
    "panda-ewc": ("table4/panda-ewc", "at or above `frozen`"),
    "panda-ses": ("table4/panda-ses", "at or above `frozen`"),
    "panda-early": ("table4/panda-early", ""),
    "panda-alarm": ("", ""),
    "panda-l2": ("", ""),
    "msc": ("msc/cited", ""),
    "joint": ("table4/joint", ""),
}
STOPPED = ("panda-ses", "panda-early", "panda-alarm")  # what one training gives, judged in three ways


def outliers() -> Iterator[Figures]:
    """Outlier exposure beside the unadapted network, all ten classes."""
    frozen: list[float] = []
    for recipe in ("frozen", "panda-oe"):
        found = [_last(normal_class=name, recipe=recipe, **SMALL) for name in CLASSES]
        aim = f"frozen: {statistics.mean(frozen):.2f}" if frozen else "measured"
        frozen = frozen or found
        yield f"`{recipe}`, mean of 10 classes", f"{statistics.mean(found):.2f}", aim, f"{_by_class(found)}; {HOW}"


def recipes() -> Iterator[Figures]:
    """The recipes that adapt a pretrained network to normal images alone beside the unadapted one, all ten classes."""
    found: dict[str, list[float]] = {recipe: [] for recipe in ADAPTED}
    started: dict[str, list[float]] = {recipe: [] for recipe in ADAPTED}
    for name in CLASSES:
        for recipe in ADAPTED:
            if recipe not in STOPPED:
                every = None if recipe == "frozen" else ONCE
                curve = _curve(normal_class=name, recipe=recipe, eval_every=every, **LARGE)
                started[recipe].append(100 * curve[0][1])
                found[recipe].append(100 * curve[-1][1])
        for recipe, value in _stopped(name).items():
            found[recipe].append(value)
    for recipe, values in found.items():
        yield mean_figures(recipe, values, found["frozen"], started[recipe])


def _stopped(name: str) -> dict[str, float]:
    """Return by recipe the AUROC, in percent, of the stop rules on one and the same training."""
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(normal_class=name, recipe="panda-ses", eval_every=EVERY, runs_dir=folder, **LARGE)
        (run_id,) = {event.run_id for event in run(config) if isinstance(event, RunStarted)}
        loaded = load_run(run_id, folder)
        arrays = [loaded.arrays(event.step) for event in used_checkpoints(loaded.evaluated, "alarm", None)]
        curve = {event.step: float(event.auroc or 0) for event in loaded.evaluated}
        is_anomaly, by_sample = np.array(loaded.split.is_anomaly), float(loaded.metrics["auroc"])  # type: ignore[index]
    scores = np.stack([array.scores for array in arrays])  # (T, M)
    normalisers = np.array([array.normaliser for array in arrays])
    return {
        "panda-ses": 100 * by_sample,
        "panda-early": 100 * curve[find_recipe("panda-early").steps],
        "panda-alarm": 100 * (auroc(aggregate("alarm", scores, normalisers).scores, is_anomaly) or 0),
    }


def mean_figures(recipe: str, found: list[float], frozen: list[float], started: list[float]) -> Figures:
    """Return the row of a recipe's AUROC by class, in percent, beside that of the unadapted network.

    frozen: of the recipe of that name. started: of step 0 of this recipe's own runs, shown where its space is another.
    """
    key, aim = ADAPTED[recipe]
    mean = statistics.mean(found)
    measured = f"{mean:.2f}"
    if recipe != "frozen":
        gains = [after - before for after, before in zip(found, frozen, strict=True)]
        above = sum(gain > 0 for gain in gains)
        measured += f" ({statistics.mean(gains):+.2f} to `frozen`; better on {above} of {len(gains)} classes)"
    paper = published_for(key, "auroc", "cifar10", CLASSES, whole=True)
    beside = "" if paper is None else f"; {paper.source}: {100 * paper.value:.1f}, with another network and all images"
    steps = find_recipe(recipe).steps
    how = f"{steps} steps; " if steps else ""
    how += f"checkpoints every {EVERY} of them; " if recipe in ("panda-ses", "panda-alarm") else ""
    how += "strength 10, chosen without labels; " if recipe == "panda-ewc" else ""
    if find_recipe(recipe).feature_norm is not None:
        how += f"in its own space, where the unadapted network has {statistics.mean(started):.2f}; "
    how += f"{_by_class(found)}; {HOW_LARGE}"
    return f"`{recipe}`, mean of 10 classes", measured, (aim or "measured") + beside, how


def _by_class(found: list[float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in zip(CLASSES, found, strict=True))


def _last(**fields: Any) -> float:
    """Return the AUROC of a run's final scores, in percent."""
    return 100 * _curve(**fields)[-1][1]


# Weight decay comes after the clip and no penalty answers for it: at this rate it would take a fifth of every weight in
# 200 steps, whatever holds them. Momentum would swing weights that are held past their pretrained values. So neither
# side has them, and the elastic penalty is all in which the two differ.
def _curve(**fields: Any) -> list[tuple[int, float]]:
    """Return (step, AUROC) of a run; the last pair is of its final scores."""
    with tempfile.TemporaryDirectory() as folder:
        events = list(run(RunConfig(runs_dir=folder, **fields)))
    curve = [(event.step, float(event.auroc or 0)) for event in events if isinstance(event, Evaluated)]
    return [*curve, (curve[-1][0], float(events[-1].metrics["auroc"]))]  # type: ignore[attr-defined]
