"""Figures of detection on new classes, with and without residuals: solar cells, magnetic tiles, class folders."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

from panda_core import RunConfig, RunFinished, run

DRAWS, FEW_DRAWS = 5, 3
SEEN = 200  # normal images of the seen class, and as many drawn defects


def generalize() -> Iterator[tuple[str, str, str, str]]:
    """ELPV, monocrystalline to polycrystalline, 4 references: the same pipeline with residuals and without."""
    signed, without = (_measured(residual) for residual in ("signed", "none"))
    shown = (
        f"trained on {SEEN} normal mono cells and defects drawn into them, 100 steps, EfficientNet-Lite0, 224 px; "
        "tested on 276 functional and 402 defective poly cells"
    )
    values, alone = (_percent(signed["draws"], key) for key in ("image_auroc", "residual_auroc"))
    (plain,) = _percent(without["draws"], "image_auroc")
    yield (
        "ResAD, elpv mono to poly with 4 references, image AUROC above the same pipeline without residuals",
        f"{statistics.mean(values) - plain:+.1f} points ({statistics.mean(values):.1f} against {plain:.1f})",
        "5 points or more",
        f"mean of {DRAWS} draws of references ({min(values):.1f} to {max(values):.1f}); {shown}; the pipeline without "
        "residuals needs no references",
    )
    yield (
        "the same by the length of residuals alone, without any training",
        f"{statistics.mean(alone):.1f} ({min(alone):.1f} to {max(alone):.1f})",
        "",
        "the same references",
    )
    yield ("seconds of that run", f"{signed['seconds']:.0f} s", "", f"training, {DRAWS} draws of references, test")


def generalize_tiles() -> Iterator[tuple[str, str, str, str]]:
    """Magnetic tiles: two kinds of defects and solar cells are trained on, the other three kinds are tested."""
    seen = {"seen": "free/blowhole/break@magnetic_tiles,mono@elpv", "seen_limit": 100}
    yield from _beside(
        "magnetic tiles, other kinds of defects than those trained on",
        "trained on 100 free tiles with 100 blowholes and breaks and on 100 mono cells with drawn defects, 100 steps, "
        "224 px; tested on 54 free tiles and 139 with cracks, fraying or uneven",
        {"dataset": "magnetic_tiles", "test_limit": 300},
        seen,
    )


def generalize_folders() -> Iterator[tuple[str, str, str, str]]:
    """CIFAR-10's class folders: five classes are trained on, a sixth is normal and told from the other four."""
    yield from _beside(
        "CIFAR-10 class folders, horse",
        "trained on 100 images each of airplane, automobile, bird, cat and deer, 100 steps, 128 px; 100 horses told "
        "from 400 dogs, frogs, ships and trucks",
        {"dataset": "cifar10", "normal_class": "horse", "image_size": 128, "test_limit": 1000},
        {"seen_limit": 100},
    )


def _beside(
    what: str, how: str, fields: dict[str, Any], options: dict[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield image AUROC with residuals, beside that of the same pipeline without and of residuals untrained."""
    draws = [
        _finished(RunConfig(recipe="resad", **fields, set={**options, "residual": residual, "draws": count}))["draws"]
        for residual, count in (("signed", FEW_DRAWS), ("none", 1))
    ]
    values, alone = (_percent(draws[0], key) for key in ("image_auroc", "residual_auroc"))
    (plain,) = _percent(draws[1], "image_auroc")
    yield (
        f"ResAD, {what}: image AUROC",
        f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})",
        f"without residuals: {plain:.1f}",
        f"mean of {FEW_DRAWS} draws of 4 references; residuals alone, untrained: {statistics.mean(alone):.1f}; {how}",
    )


def _measured(residual: str) -> dict[str, Any]:
    """Return the metrics of a run on solar cells, and its seconds."""
    draws = DRAWS if residual != "none" else 1
    options = {"seen": "mono@elpv", "seen_limit": SEEN, "residual": residual, "draws": draws}
    return _finished(RunConfig(dataset="elpv", normal_class="poly", recipe="resad", set=options))


def _finished(config: RunConfig) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        (end,) = [event for event in run(config.replace(runs_dir=folder)) if isinstance(event, RunFinished)]
    return {**end.metrics, "seconds": end.seconds}


def _percent(draws: list[dict[str, float]], key: str) -> list[float]:
    return [100 * draw[key] for draw in draws]
