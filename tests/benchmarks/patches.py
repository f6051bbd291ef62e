"""Figures of all ways to compare patches, side by side: accuracy, size of the file, times; and of specks in textiles.

Each data set gives 100 normal images to learn from. The network's maps are computed once for all methods.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panda_core import CacheProgress, RunConfig, RunFinished, RunStarted, load_run, run
from panda_core.datasets import ArrayImages, OneClassTask, find_dataset
from panda_core.datasets.sets.defects import KINDS, draw_defect
from panda_core.runs.kinds import prepare
from panda_core.runs.segment.loop import MapSnapshot, segment
from panda_core.runs.segment.settings import SegmentPlan

Row = dict[str, str]
DATA = Path(os.environ.get("PANDA_DATA") or "nowhere")
SEEDS = (0, 1, 2)
NORMALS, TESTS = 100, 200
CHOOSING, DRAWN = 0, 40  # the seed, and the number of normal training images held out, by which a side is chosen
PART = 3  # of an image's side: into so large a window a defect is drawn, since specks are what is looked for
FIRST, SIDES = 224, (224, 448)
ONLY_FIRST = ("spade",)  # at 448 pixels, five images are 16,000 patches to search for each of 3,000
# Of AnomalyDINO no turned copies: with 100 images they cost eight times the time, and the paper has them for a few.
# Of SPADE five images, as its released code.
METHODS: dict[str, dict[str, Any]] = {
    "patchcore": {},
    "spade": {"nearest_images": 5},
    "anomalydino": {"rotations": 1},
    "subspacead": {},
}
SETTINGS = "AnomalyDINO without turned copies, SPADE with the five nearest images; all else by default."
SETS = (("magnetic_tiles", None), ("synthetic:elpv", "mono"))


class Memory:
    """Maps of the stages of one network, computed once for each batch of images that is asked for."""

    def __init__(self) -> None:
        self.maps: dict[bytes, dict[str, Tensor]] = {}

    def of(self, network: Any) -> Callable[[Tensor, Sequence[str]], list[Tensor]]:
        """Return the function that stands for the network's own `stage_maps`."""
        compute = network.stage_maps

        def stage_maps(x: Tensor, stages: Sequence[str]) -> list[Tensor]:
            key = hashlib.sha256(x.numpy().tobytes()).digest()
            if not set(stages) <= set(self.maps.get(key, ())):
                wanted = tuple(dict.fromkeys((*network.levels, *stages)))
                with torch.inference_mode():
                    self.maps[key] = dict(zip(wanted, compute(x, wanted), strict=True))
            return [self.maps[key][stage] for stage in stages]

        return stage_maps


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a run measured. metrics: its final ones. file: bytes of what it learned. fit: seconds to the first test."""

    metrics: Mapping[str, Any]
    file: int
    fit: float


def figures(config: RunConfig, memory: Memory | None = None, task: OneClassTask | None = None) -> Figures:
    """Return what a segmentation run of `config`, on `task` if there is one, measures; it leaves nothing behind."""
    plan = prepare(config, task)
    if memory is not None:
        plan.network.stage_maps = memory.of(plan.network)
    began, fit, file = time.perf_counter(), 0.0, 0
    assert isinstance(plan, SegmentPlan)
    for item in segment(plan):
        if isinstance(item, CacheProgress) and item.split == "test" and item.done == 0:
            fit = time.perf_counter() - began
        elif isinstance(item, MapSnapshot):
            file = sum(tensor.nbytes for tensor in item.model.values())
        elif isinstance(item, RunFinished):
            return Figures(item.metrics, file, fit)
    raise RuntimeError("The run did not finish.")


def of(method: str, dataset: str, seed: int, **fields: Any) -> RunConfig:
    """Return the config of one cell of the tables."""
    given = {"train_limit": NORMALS, "test_limit": TESTS, **fields}
    return RunConfig(recipe=method, dataset=dataset, seed=seed, set=METHODS[method], **given)


def small_defects(dataset: str, seed: int) -> OneClassTask:
    """Return normal training images to learn from; to test others of them, clean and with a small defect each."""
    splits = find_dataset(dataset).open(DATA, "nominal", seed)
    order = np.random.default_rng([seed, 7]).permutation(len(splits.train))
    clean = [splits.train.load(row) for row in order[NORMALS : NORMALS + DRAWN]]
    spoiled = []
    for number, image in enumerate(clean):
        rng = np.random.default_rng([seed, 8, number])
        sides = [side // PART for side in image.shape[:2]]
        top, left = (int(rng.integers(whole - side)) for whole, side in zip(image.shape[:2], sides, strict=True))
        window = slice(top, top + sides[0]), slice(left, left + sides[1])
        drawn = image.copy()
        drawn[window] = draw_defect(image[window], list(KINDS)[number % len(KINDS)], rng, clean[number - 1])[0]
        spoiled.append(drawn)
    names = [f"{kind} {number}" for kind in ("clean", "drawn") for number in range(DRAWN)]
    test = ArrayImages([*clean, *spoiled], names)
    return OneClassTask(splits.train.subset(order[:NORMALS]), test, np.repeat(np.array([0, 1], np.uint8), DRAWN))


def textile() -> Iterator[Row]:
    """Specks of a few pixels and another weave, at the usual side and at one that drawn defects choose."""
    drawn: dict[tuple[str, int], float] = {}
    task = small_defects("textile", CHOOSING)
    for side in SIDES:
        memory = Memory()
        for method in _at(side):
            config = of(method, "textile", CHOOSING, image_size=side, train_limit=None, test_limit=None)
            drawn[method, side] = figures(config, memory, task).metrics["image_auroc"]
    sides = {
        method: max((side for side in SIDES if (method, side) in drawn), key=lambda side: drawn[method, side])
        for method in METHODS
    }
    for method, chosen in sides.items():
        shown = {f"{side} px": _cent(drawn[method, side]) if (method, side) in drawn else "-" for side in SIDES}
        yield {"method": method, **shown, "chosen": f"{chosen} px"}
    yield {
        "note": f"Image AUROC of {DRAWN} normal training images that were held out (seed {CHOOSING}), with a small "
        f"defect drawn into each, against the same without; {NORMALS} others to learn from. The side at which a method "
        "looks at textiles is chosen by it: no defective one has been looked at."
    }
    found: dict[tuple[str, int], list[Figures]] = {}
    for seed in SEEDS:
        for side in SIDES:
            memory = Memory()
            for method in _at(side):
                config = of(method, "textile", seed, image_size=side)
                found.setdefault((method, side), []).append(figures(config, memory))
    for (method, side), runs in found.items():
        yield {
            "method": method,
            "side": f"{side} px" + (", chosen" if side == sides[method] else ""),
            **{kind: _kind(runs, kind) for kind in ("local", "global")},
            "file": f"{runs[0].file / 1e6:.1f} MB",
        }
    yield {
        "note": f"Image AUROC, mean of seeds {_listed(SEEDS)} (each), {NORMALS} normal textiles to learn from, "
        f"{TESTS} to test; EfficientNet-Lite0. {SETTINGS}"
    }


def _at(side: int) -> list[str]:
    """Return the methods that are measured at a side."""
    return [method for method in METHODS if side == FIRST or method not in ONLY_FIRST]


def patches() -> Iterator[Row]:
    """All methods on magnetic tiles and on drawn defects, at the usual side; file, time to fit, time of a map."""
    found: dict[tuple[str, str], list[Figures]] = {}
    for key, normal_class in SETS:
        if find_dataset(key).missing(DATA):
            yield {"note": f"{key} is not here and is left out."}
            continue
        for seed in SEEDS:
            memory = Memory()
            for method in METHODS:
                config = of(method, key, seed, normal_class=normal_class)
                found.setdefault((key, method), []).append(figures(config, memory))
    for (key, method), runs in found.items():
        names = ("image_auroc", "pixel_auroc", "aupro")
        yield {
            "images": key,
            "method": method,
            "image AUROC / pixel AUROC / AUPRO": " / ".join(
                _cent(statistics.mean(run.metrics[name] for run in runs)) for name in names
            ),
            "file": f"{runs[0].file / 1e6:.1f} MB",
        }
    yield {
        "note": f"Mean of seeds {_listed(SEEDS)}, {NORMALS} normal images to learn from, {TESTS} to test, defaults at "
        f"{FIRST} px. {SETTINGS}"
    }
    yield from _times()


def _times() -> Iterator[Row]:
    """Seconds to learn from the normal cells and milliseconds of a map, the maps of the network included."""
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            config = of(method, "elpv", 0, normal_class="mono", test_limit=4).replace(runs_dir=folder)
            began, fit = time.perf_counter(), 0.0
            for event in run(config):
                if isinstance(event, RunStarted):
                    began, run_id = time.perf_counter(), event.run_id
                elif isinstance(event, CacheProgress) and event.split == "test" and event.done == 0:
                    fit = time.perf_counter() - began
            loaded = load_run(run_id, folder)
            detector, image = loaded.detector(), loaded.images("test").load(0)
            detector.anomaly_maps([image])
            single = []
            for _ in range(9):
                began = time.perf_counter()
                detector.anomaly_maps([image])
                single.append(time.perf_counter() - began)
        yield {
            "method": method,
            f"fit to {NORMALS} images": f"{fit:.0f} s",
            "one map, alone": f"{1000 * statistics.median(single):.0f} ms",
        }
    yield {"note": f"Solar cells at {FIRST} px, decoding and the network included; a map is the median of 9."}


def _kind(runs: Sequence[Figures], kind: str) -> str:
    """Return the mean image AUROC of a kind of defect, and each seed's."""
    values = [run.metrics["kinds"][kind]["image_auroc"] for run in runs]
    return f"{_cent(statistics.mean(values))} ({', '.join(map(_cent, values))})"


def _cent(value: float) -> str:
    return f"{100 * value:.1f}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
