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
    """What a run measured. metrics: its final ones. scores: (M,) of the test images. file: bytes of what it learned."""

    metrics: Mapping[str, Any]
    scores: np.ndarray
    file: int


def figures(config: RunConfig, memory: Memory | None = None, task: OneClassTask | None = None) -> Figures:
    """Return what a segmentation run of `config`, on `task` if there is one, measures; it leaves nothing behind."""
    plan = prepare(config, task)
    if memory is not None:
        plan.network.stage_maps = memory.of(plan.network)
    assert isinstance(plan, SegmentPlan)
    items = list(segment(plan))
    (saved,), finished = [item for item in items if isinstance(item, MapSnapshot)], items[-1]
    assert isinstance(finished, RunFinished)
    file = sum(tensor.nbytes for tensor in saved.model.values())
    return Figures(finished.metrics, saved.arrays.scores, file)


def rise(scores: np.ndarray) -> float:
    """Return by how much defects drawn into images raise their scores, in standard deviations of the clean ones.

    scores: (2 N,), of N clean images, then of the same with a defect. In pairs, because the AUROC of forty images is
    known to 0.06 only, most of which is how different clean images are.
    """
    clean, drawn = np.split(scores.astype(np.float64), 2)
    return float((drawn - clean).mean() / clean.std())


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
            drawn[method, side] = rise(figures(config, memory, task).scores)
    sides = {
        method: max((side for side in SIDES if (method, side) in drawn), key=lambda side: drawn[method, side])
        for method in METHODS
    }
    for method, chosen in sides.items():
        shown = {f"{side} px": f"{drawn[method, side]:.2f}" if (method, side) in drawn else "-" for side in SIDES}
        yield {"method": method, **shown, "chosen": f"{chosen} px"}
    yield {
        "note": f"By how much a small defect, drawn into each of {DRAWN} normal training images that were held out "
        f"(seed {CHOOSING}), raises their scores, in standard deviations of the same images without; {NORMALS} others "
        "to learn from. The side at which a method looks at textiles is chosen by it, with no label. But this way to "
        "choose is the third that was tried, after the figures below had been seen at both sides, and for AnomalyDINO "
        "it chooses the worse one."
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
                measured = figures(of(method, key, seed, normal_class=normal_class), memory)
                found.setdefault((key, method), []).append(measured)
    for (key, method), runs in found.items():
        yield {
            "images": key,
            "method": method,
            **{
                words: _each([float(one.metrics[name]) for one in runs])
                for words, name in (("image AUROC", "image_auroc"), ("pixel AUROC", "pixel_auroc"), ("AUPRO", "aupro"))
            },
            "file": f"{runs[0].file / 1e6:.1f} MB",
        }
    yield {
        "note": f"Mean of seeds {_listed(SEEDS)} (each), {NORMALS} normal images to learn from, {TESTS} to test, "
        f"defaults at {FIRST} px. {SETTINGS}"
    }
    yield from _times()


def _times() -> Iterator[Row]:
    """Processor time to learn from the normal cells, and of a map, the network's part included."""
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            config = of(method, "elpv", 0, normal_class="mono", test_limit=4).replace(runs_dir=folder)
            began, fit = time.process_time(), 0.0
            for event in run(config):
                if isinstance(event, RunStarted):
                    began, run_id = time.process_time(), event.run_id
                elif isinstance(event, CacheProgress) and event.split == "test" and event.done == 0:
                    fit = time.process_time() - began
            loaded = load_run(run_id, folder)
            detector, image = loaded.detector(), loaded.images("test").load(0)
            detector.anomaly_maps([image])
            single = []
            for _ in range(9):
                began = time.process_time()
                detector.anomaly_maps([image])
                single.append(time.process_time() - began)
        yield {
            "method": method,
            f"fit to {NORMALS} images": f"{fit:.0f} s",
            "one map, alone": f"{1000 * statistics.median(single):.0f} ms",
        }
    yield {
        "note": f"Solar cells at {FIRST} px, decoding and the network included; a map is the median of 9. Seconds of a "
        "processor, since machines are shared."
    }


def _kind(runs: Sequence[Figures], kind: str) -> str:
    """Return the mean image AUROC of a kind of defect, and each seed's."""
    return _each([run.metrics["kinds"][kind]["image_auroc"] for run in runs])


def _each(values: Sequence[float]) -> str:
    """Return the mean of shares, in percent, and each of them."""
    return f"{_cent(statistics.mean(values))} ({', '.join(map(_cent, values))})"


def _cent(value: float) -> str:
    return f"{100 * value:.1f}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
