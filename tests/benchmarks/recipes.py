"""Figures of the recipes side by side on CIFAR-10: what adapting adds, and what collapses and what does not."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

from panda_core import Evaluated, RunConfig, run

Figures = tuple[str, str, str, str]  # what, measured, target, how
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Two cores have minutes for this, not days: smaller images than the 128 px at which the networks do best.
SMALL: dict[str, Any] = {"dataset": "cifar10", "image_size": 64, "train_limit": 300, "test_limit": 500}
HOW = "CIFAR-10 class folders, 64 px, 300 train, 500 test images a class, seed 0; every recipe's defaults but as said"
LONG: dict[str, Any] = {**SMALL, "steps": 120, "eval_every": 10, "set": {"cut": "blocks.2"}}


def recipes() -> Iterator[Figures]:
    """Every recipe that adapts the pretrained network, all ten classes."""
    means: dict[str, float] = {}
    for recipe in ("frozen", "panda-early", "panda-ses", "panda-ewc", "panda-oe", "joint", "msc"):
        found = [100 * _curve(normal_class=name, recipe=recipe, **SMALL)[-1][1] for name in CLASSES]
        means[recipe] = statistics.mean(found)
        aim = "measured" if recipe == "frozen" else f"frozen: {means['frozen']:.1f}"
        each = ", ".join(f"{value:.1f}" for value in found)
        yield f"`{recipe}`, mean of 10 classes", f"{means[recipe]:.2f}", aim, f"{each}; {HOW}"


def collapse() -> Iterator[Figures]:
    """Large steps for long, with and without elastic weights."""
    for name in ("cat", "dog", "horse"):
        free = _curve(normal_class=name, recipe="panda-early", lr=20.0, **LONG)
        held = _curve(normal_class=name, recipe="panda-ewc", lr=20.0, **_held())
        for what, curve, target in (
            ("without regularisation", free, "10 points or more"),
            ("the same length with EWC", held, "2 points or less"),
        ):
            peak, last = 100 * max(value for _, value in curve), 100 * curve[-1][1]
            yield (
                f"{name}, {what}: AUROC at its end under its peak",
                f"{peak - last:.1f} points ({peak:.1f} to {last:.1f})",
                target,
                "120 steps at learning rate 20, all stages after blocks.2; EWC without momentum. " + HOW,
            )


def _held() -> dict[str, Any]:
    return {**LONG, "set": {**LONG["set"], "momentum": 0.0}}


def _curve(**fields: Any) -> list[tuple[int, float]]:
    """Return (step, AUROC) of a run; the last pair is of its final scores."""
    with tempfile.TemporaryDirectory() as folder:
        events = list(run(RunConfig(runs_dir=folder, **fields)))
    curve = [(event.step, float(event.auroc or 0)) for event in events if isinstance(event, Evaluated)]
    return [*curve, (curve[-1][0], float(events[-1].metrics["auroc"]))]  # type: ignore[attr-defined]
