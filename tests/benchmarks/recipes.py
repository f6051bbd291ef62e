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
HOW_LARGE = HOW.replace("64 px", "128 px")
LONG: dict[str, Any] = {**SMALL, "steps": 200, "eval_every": 20, "set": {"cut": "blocks.2"}}


def outliers() -> Iterator[Figures]:
    """Outlier exposure beside the unadapted network, all ten classes."""
    yield from _means(("frozen", "panda-oe"), SMALL, HOW)


def recipes() -> Iterator[Figures]:
    """The recipes of the paper beside the unadapted network, all ten classes, at the size that suits the network."""
    yield from _means(("frozen", "panda-ewc", "panda-ses", "panda-alarm"), {**SMALL, "image_size": 128}, HOW_LARGE)


def others() -> Iterator[Figures]:
    """The other recipes that adapt a pretrained network, all ten classes."""
    yield from _means(("frozen", "panda-l2", "joint", "msc"), SMALL, HOW)


def _means(names: tuple[str, ...], fields: dict[str, Any], how: str) -> Iterator[Figures]:
    frozen = 0.0
    for recipe in names:
        found = [100 * _curve(normal_class=name, recipe=recipe, **fields)[-1][1] for name in CLASSES]
        mean = statistics.mean(found)
        aim = "measured" if recipe == "frozen" else f"frozen: {frozen:.2f}"
        frozen = mean if recipe == "frozen" else frozen
        each = ", ".join(f"{name} {value:.1f}" for name, value in zip(CLASSES, found, strict=True))
        yield f"`{recipe}`, mean of 10 classes", f"{mean:.2f}", aim, f"{each}; {how}"


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
                "200 steps at learning rate 20, all stages after blocks.2; EWC without momentum, which would pull the "
                "weights back and forth over their pretrained values, at strength 1e6. " + HOW,
            )


def _held() -> dict[str, Any]:
    return {**LONG, "set": {**LONG["set"], "momentum": 0.0, "ewc_strength": 1e6}}


def _curve(**fields: Any) -> list[tuple[int, float]]:
    """Return (step, AUROC) of a run; the last pair is of its final scores."""
    with tempfile.TemporaryDirectory() as folder:
        events = list(run(RunConfig(runs_dir=folder, **fields)))
    curve = [(event.step, float(event.auroc or 0)) for event in events if isinstance(event, Evaluated)]
    return [*curve, (curve[-1][0], float(events[-1].metrics["auroc"]))]  # type: ignore[attr-defined]
