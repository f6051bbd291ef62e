"""Figures of exported graphs: how far from the run, how large, how fast beside the program itself."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from panda_core import RunConfig, RunStarted, load_run, run
from panda_core.export.network_file import graph_of, write_network
from panda_core.features.trunk import squared
from panda_core.segmentation.table import SEGMENTERS

Figures = tuple[str, str, str, str]  # what, measured, target, how
ROUNDS = 3
TOGETHER = 16
TRAIN = 100  # normal images, enough to fill PatchCore's banks of 5,000 patches


def export() -> Iterator[Figures]:
    """Each way to compare patches at 224 px, from decoded images to scores and maps, by both in turn."""
    for recipe in SEGMENTERS:
        with tempfile.TemporaryDirectory() as folder:
            yield from _exported(recipe, folder)


def _exported(recipe: str, folder: str) -> Iterator[Figures]:
    config = RunConfig(
        recipe=recipe, dataset="synthetic:elpv", train_limit=TRAIN, test_limit=20, runs_dir=folder, device="cpu"
    )
    (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
    loaded = load_run(run_id, folder)
    start = time.perf_counter()
    written = write_network(loaded, Path(folder) / "detector.onnx", "onnx")
    took = time.perf_counter() - start
    yield (
        f"{recipe}: largest difference of scores and maps from the run's, of them",
        f"{written.difference:.0e}",
        "1e-4 or less",
        f"{written.images}; file of {written.size / 1e6:.0f} MB, written and checked in {took:.0f} s",
    )
    detector = loaded.detector()
    waiting = onnxruntime.SessionOptions()
    # Threads that spin between two calls would take the processor from PyTorch's turn.
    waiting.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph, session = graph_of(detector), onnxruntime.InferenceSession(str(written.path), waiting)
    images = [loaded.images("test").load(row) for row in range(TOGETHER)]
    for count in (1, TOGETHER):
        given = images[:count]

        def exported(given: list[np.ndarray] = given) -> None:
            session.run(
                None, {"images": np.stack([squared(image, graph.side, graph.preprocessing) for image in given])}
            )

        ours, theirs = _seconds(exported, partial(detector.anomaly_maps, given))
        yield (
            f"{recipe}: one map at {detector.config.image_size} px, of {count} at once: onnxruntime / PyTorch",
            f"{1000 * ours / count:.0f} / {1000 * theirs / count:.0f} ms",
            "no slower than PyTorch",
            f"decoded image to score and map, in turn, median of {ROUNDS}; {TRAIN} normal solar cells, "
            f"EfficientNet-Lite0; load average {os.getloadavg()[0]:.1f}",
        )


def _seconds(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return the median seconds that each takes, in turn, once each has run."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 1):
        for call, taken in zip((first, second), times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])
