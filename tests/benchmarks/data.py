"""Figures of detectors for one's own images: false alarms on fresh normal images, and the speed of `score`."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from panda_core import PandaDetector, RunConfig, RunStarted, run
from panda_core.config import default_data_root
from panda_core.datasets import find_dataset

Figures = tuple[str, str, str, str]  # what, measured, target, how
RATE = 0.05
SPLITS = 20
COUNT = 200  # normal images to learn from, and at most as many fresh ones
SMALL = {"image_size": 64}
# Settings small enough for two cores: what is checked is the calibration, which knows nothing of accuracy.
EARLY: dict[str, Any] = {"recipe": "panda-early", "steps": 8, "eval_every": 8, **SMALL}
FROZEN: dict[str, Any] = {"recipe": "frozen", **SMALL}
PATCHES: dict[str, Any] = {"recipe": "patchcore", "image_size": 128}
PHOTOS, SIDE = 1000, 300


def alarms() -> Iterator[Figures]:
    """The share of fresh normal images above the threshold, over random splits, all through `PandaDetector`."""
    for name, fields, splits in (
        ("elpv", FROZEN, SPLITS),
        ("cifar10", FROZEN, SPLITS),
        ("elpv", EARLY, SPLITS),
        ("cifar10", EARLY, SPLITS),
        ("elpv", PATCHES, 5),
    ):
        yield _alarms(name, fields, splits)


def _alarms(name: str, fields: dict[str, Any], splits: int) -> Figures:
    shares, inside, held_out, fresh = [], 0, 0, 0
    for seed in range(splits):
        paths = _normals(name, seed)
        learned, others = paths[:COUNT], paths[COUNT : 2 * COUNT]
        with tempfile.TemporaryDirectory() as cache:  # nothing is learned twice
            os.environ["PANDA_CACHE_DIR"] = cache
            detector = PandaDetector(seed=seed, **fields).fit(learned)
        shares.append(float(detector.predict(others, false_alarm_rate=RATE).mean()))
        held_out, fresh = len(detector.held_out_scores), fresh + len(others)
        told = detector.calibration.false_alarms(RATE)
        assert told is not None
        inside += told.low <= shares[-1] <= told.high
        print(name, fields["recipe"], seed, f"{100 * shares[-1]:.1f} %", flush=True)
    mean, spread = 100 * statistics.mean(shares), 100 * statistics.stdev(shares)
    return (
        f"`{name}`, `{fields['recipe']}`: fresh normal images rejected at the calibrated 5 %, mean of {splits} splits",
        f"{mean:.1f} % (standard deviation {spread:.1f}, {100 * min(shares):.1f} to {100 * max(shares):.1f}); the "
        f"interval shown holds it in {inside} of {splits}",
        "2.5 to 9 %",
        f"`PandaDetector.fit` on {COUNT} random normal images of a class, {held_out} of them held out: expected "
        f"{100 * told.expected:.1f} %, shown interval {100 * told.low:.1f} to {100 * told.high:.1f} %; {fresh} fresh "
        f"ones in all; classes in turn, {fields['image_size']} px, "
        + (f"{fields['steps']} steps" if "steps" in fields else "the defaults otherwise"),
    )


def _normals(name: str, seed: int) -> list[Path]:
    """Return the paths of all normal images of a class, shuffled; the classes take turns."""
    root, dataset = Path(default_data_root()), find_dataset(name)
    classes = dataset.classes(root)
    splits = dataset.open(root, classes[seed % len(classes)], 0)
    paths: list[Path] = []
    for images, labels in ((splits.train, splits.train_labels), (splits.test, splits.test_labels)):
        paths += [images.paths[row] for row in np.flatnonzero(labels == splits.normal_label)]  # type: ignore[attr-defined]
    return [paths[row] for row in np.random.default_rng(seed).permutation(len(paths))]


def score() -> Iterator[Figures]:
    """`score` on a folder of photos, in a process as its user starts it, at two sides of the network's input."""
    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder) / "photos")
        for side, target in ((128, "measured"), (224, "130 or more a second")):
            config = RunConfig(dataset="elpv", image_size=side, recipe="panda-early", steps=8, eval_every=8)
            config = config.replace(train_limit=200, test_limit=40, runs_dir=folder)
            (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
            command = [sys.executable, "-m", "panda_core", "score", run_id, str(photos), "--runs-dir", folder, "--csv"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            if len(done.stdout.splitlines()) != PHOTOS + 1:
                sys.exit("Not all images were scored.")
            yield (
                f"`score`, {side} px: images a second",
                f"{PHOTOS / seconds:.0f} ({seconds:.0f} s; {spent:.0f} s of processor time: {PHOTOS * 2 / spent:.0f} a "
                f"second if two cores did nothing else, extrapolated; peak {after.ru_maxrss / 1e6:.2f} GB)",
                target,
                f"{PHOTOS} JPEG files of {SIDE} x {SIDE}, EfficientNet-Lite0, start of the program and loading "
                f"included; load average {os.getloadavg()[0]:.1f}",
            )


def _photos(folder: Path) -> Path:
    """Write solar cells, each turned and enlarged a little differently, as JPEG files into a new folder."""
    folder.mkdir()
    splits = find_dataset("elpv").open(Path(default_data_root()), "poly", 0)
    for place in range(PHOTOS):
        picture = Image.fromarray(splits.train.load(place % len(splits.train)))
        picture.rotate(place // len(splits.train)).resize((SIDE, SIDE)).save(folder / f"{place:04d}.jpg", quality=92)
    return folder
