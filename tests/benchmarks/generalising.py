"""Figures of detection on new classes: solar cells of another type, with and without residuals, drawn references."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from typing import Any

from panda_core import RunConfig, RunFinished, run

DRAWS = 5
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


def _measured(residual: str) -> dict[str, Any]:
    """Return the metrics of a run, and its seconds."""
    draws = DRAWS if residual != "none" else 1
    options = {"seen": "mono@elpv", "seen_limit": SEEN, "residual": residual, "draws": draws}
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(dataset="elpv", normal_class="poly", recipe="resad", runs_dir=folder, set=options)
        (end,) = [event for event in run(config) if isinstance(event, RunFinished)]
    return {**end.metrics, "seconds": end.seconds}


def _percent(draws: list[dict[str, float]], key: str) -> list[float]:
    return [100 * draw[key] for draw in draws]
