"""`make bench`: the figures of BENCHMARKS.md, measured on this machine.

`python -m tests.benchmarks.bench SECTION ...` measures some sections only; they are the keys of SECTIONS below.
Each section's rows are kept in tests/benchmarks/results.json, and BENCHMARKS.md is written from all of them. Sections
that need CIFAR-10, ImageNet or magnetic tiles look for them in $PANDA_DATA and are passed over without; so is the
comparison with anomalib, unless $ANOMALIB_PYTHON is a Python that has it (see against_anomalib.py).
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from panda_core.threads import SETTINGS, thread_settings

os.environ.update(thread_settings())

from panda_core import CheckpointSaved, Evaluated, RunConfig, RunFinished, run

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results.json"
DATA = Path(os.environ.get("PANDA_DATA") or "nowhere")
CIFAR = DATA / "cifar10_images"
IMAGENET = DATA / "imagenet_sample"
PAIRS = 3  # side-by-side repetitions of a speed ratio

Row = dict[str, str]  # cells by the name of their column; under "note" alone, what is said of the rows after it


def row(what: str, measured: str, target: str, how: str) -> Row:
    return {"what": what, "measured": measured, "target": target, "how": how}


def speed() -> Iterator[Row]:
    """One epoch plus evaluation, and the step alone, against the released loop; the two in turn."""
    from panda_core.runs.adapt.loop import adapt
    from panda_core.runs.kinds import prepare

    config = RunConfig(
        dataset="cifar10",
        normal_class="cat",
        train_limit=500,
        test_limit=1500,
        image_size=128,
        steps=16,
        eval_every=16,
        set={"calibrate_on": "train"},
    )
    plan = prepare(config)
    first = int(str(plan.option("cut")).removeprefix("blocks.")) + 1
    paths = [list(images.paths) for images in (plan.task.train, plan.task.test)]  # type: ignore[attr-defined]
    order = json.dumps({"train": paths[0], "test": paths[1], "size": 128, "first": first})
    began = time.perf_counter()
    list(adapt(plan))  # fills the cache
    filling = time.perf_counter() - began
    epochs, steps = [], []
    for _ in range(PAIRS):
        released = _released_loop(order)
        marks = {}
        for item in adapt(prepare(config)):
            if isinstance(item, Evaluated):
                marks[item.step] = (time.perf_counter(), item.seconds)
            if isinstance(item, CheckpointSaved) and item.step == 0:
                start = time.perf_counter()
        end, evaluating = marks[16]
        epochs.append(released["both"] / (end - start))
        steps.append((released["epoch"] / released["steps"]) / ((end - start - evaluating) / 16))
    shown = "500 train, 1,500 test images of CIFAR-10, EfficientNet-Lite0, 128 px"
    yield row(
        "one epoch plus evaluation, against the released loop in plain PyTorch",
        f"{statistics.median(epochs):.1f} times faster ({min(epochs):.1f} to {max(epochs):.1f})",
        "6 times or better",
        f"{shown}; the two in turn, {PAIRS} times, each in a process as its user starts it; trunk cache filled "
        f"({filling:.0f} s with the first epoch)",
    )
    yield row(
        "training step alone, same comparison",
        f"{statistics.median(steps):.1f} times faster ({min(steps):.1f} to {max(steps):.1f})",
        "3 times or better",
        "decoding and frozen stages included on both sides, as each loop has them",
    )


def _released_loop(order: str) -> dict[str, float]:
    """Return the seconds of the yardstick's epoch and evaluation, in a process with PyTorch's default settings."""
    defaults = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    command = [sys.executable, "-m", "tests.benchmarks.released_loop"]
    done = subprocess.run(command, input=order, env=defaults, cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def start() -> Iterator[Row]:
    """From the order to start, to the first point and to a visible collapse, in processes of their own."""
    from pages.shared.forms.presets import PRESETS
    from panda_core.runs import launch
    from panda_core.runs.folder import ENDED

    (broken,) = (preset.settings for preset in PRESETS if preset.key == "break")
    options = {key.removeprefix("set_"): value for key, value in broken.items() if key.startswith("set_")}
    fields = {key: value for key, value in broken.items() if not key.startswith("set_")}
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(runs_dir=folder, steps=2, dataset="digits", normal_class="3")
        _first_point(config)  # fills the cache
        cold = [_first_point(config) for _ in range(PAIRS)]
        ready = []
        for _ in range(PAIRS):
            launch.keep_ready()
            time.sleep(10)  # as long as a person takes to choose
            ready.append(_first_point(config))
        yield row(
            "order to start, to the first point in the log (digits, cache filled, process ready)",
            f"{statistics.median(ready):.1f} s ({min(ready):.1f} to {max(ready):.1f})",
            "5 s or less",
            "without the page's own delay, see the browser figure",
        )
        yield row(
            "the same from a cold process",
            f"{statistics.median(cold):.1f} s ({min(cold):.1f} to {max(cold):.1f})",
            "12 s or less",
            "as above",
        )
        launch.keep_ready()
        time.sleep(10)
        began, peak, seconds = time.perf_counter(), 0.0, None
        started = launch.start(RunConfig(runs_dir=folder, set=options, **fields))  # type: ignore[arg-type]
        for event in _follow(started):
            if isinstance(event, Evaluated) and event.anomalous_ratio is not None:
                peak = max(peak, event.anomalous_ratio)
                if event.anomalous_ratio < 0.8 * peak:
                    seconds = time.perf_counter() - began
                    break
        started.request_stop()
        while started.state().state not in ENDED:  # it writes into the folder that is about to go
            time.sleep(0.1)
        measured = "not within the run" if seconds is None else f"{seconds:.0f} s (step {event.step})"
        yield row(
            "a collapse visible on digits (anomalous ratio 20 % below its peak)",
            measured,
            "40 s or less",
            "preset Go too far",
        )


def _first_point(config: RunConfig) -> float:
    from panda_core.runs import launch

    began = time.perf_counter()
    folder = launch.start(config)
    seconds = 0.0
    for event in _follow(folder):
        if isinstance(event, Evaluated) and not seconds:
            seconds = time.perf_counter() - began
        if isinstance(event, RunFinished):  # let it end, so that it does not disturb the next
            break
    return seconds


def _follow(folder: Any) -> Iterator[Any]:
    offset, deadline = 0, time.monotonic() + 300
    while time.monotonic() < deadline:
        for event, after in folder.events(offset):
            offset = after
            yield event
        time.sleep(0.05)


def memory() -> Iterator[Row]:
    """Peak memory of an adaptation with 5,000 train and 5,000 test images, as the system counts it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "panda_core", "run", "--dataset", "cifar10", "--normal-class", "cat"]
        command += ["--steps", "16", "--eval-every", "16", "--json", "--runs-dir", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    how = "whole process, CIFAR-10 class cat, 5,000 train and 5,000 test images, mapped pages of the cache included"
    yield row("peak memory of an adaptation", f"{peak:.2f} GB", "1.5 GB or less", how)


def cache() -> Iterator[Row]:
    """float16 against float32 in the trunk cache: AUROC, size and time of an evaluation."""
    values: dict[str, tuple[float, float, float]] = {}
    for dtype in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PANDA_CACHE_DIR"] = folder
            config = RunConfig(dataset="cifar10", normal_class="cat", train_limit=500, test_limit=1500, recipe="frozen")
            config = config.replace(runs_dir=f"{folder}/runs", set={"cache_dtype": dtype})
            list(run(config))
            events = list(run(config))
            (evaluated,) = [event for event in events if isinstance(event, Evaluated)]
            size = sum(file.stat().st_size for file in Path(folder).glob("*/activations.npy"))
            values[dtype] = (100 * (evaluated.auroc or 0), size / 2000 / 1e3, events[-1].seconds)  # type: ignore[attr-defined]
            del os.environ["PANDA_CACHE_DIR"]
    wide, half = values["float32"], values["float16"]
    yield row(
        "trunk cache in float16 instead of float32",
        f"AUROC {half[0]:.2f} against {wide[0]:.2f}, {half[1]:.1f} against {wide[1]:.1f} kB an image, "
        f"{half[2]:.1f} against {wide[2]:.1f} s for a frozen run",
        "a measured choice",
        "CIFAR-10 cat, 500 train, 1,500 test images; float16 is the default",
    )


def _rows_of(name: str, module: str = "segmentation") -> Callable[[], Iterator[Row]]:
    """Return the section `name` of a module beside this one, loaded when measured: of what `row` takes, or own rows."""

    def section() -> Iterator[Row]:
        for figures in getattr(importlib.import_module(f"tests.benchmarks.{module}"), name)():
            yield figures if isinstance(figures, dict) else row(*figures)

    return section


SECTIONS: dict[str, tuple[Callable[[], Iterator[Row]], Path | None]] = {
    "speed": (speed, CIFAR),
    "start": (start, None),
    "browser": (_rows_of("browser", "browser"), None),
    "visitors": (_rows_of("visitors", "visitors"), None),
    "memory": (memory, CIFAR),
    "space": (_rows_of("space", "space"), None),
    "sizes": (_rows_of("sizes", "space"), None),
    "background": (_rows_of("background", "background"), None),
    "recipes": (_rows_of("recipes", "recipes"), IMAGENET),
    "remedies": (_rows_of("remedies", "remedies"), CIFAR),
    "gains": (_rows_of("gains", "gains"), IMAGENET),
    "networks": (_rows_of("networks", "networks"), CIFAR),
    "adapting": (_rows_of("adapting", "adapting"), None),
    "adapting-many": (_rows_of("many", "adapting"), CIFAR),
    "whitening": (_rows_of("whitening", "whitening"), None),
    "does-adapting-help": (_rows_of("answer", "answer"), None),
    "elastic": (_rows_of("elastic", "elastic"), CIFAR),
    "collapse-alarm": (_rows_of("alarm", "alarm"), CIFAR),
    "cache": (cache, CIFAR),
    "top1": (_rows_of("top1", "top1"), IMAGENET),
    "tiles": (_rows_of("tiles"), DATA / "magnetic_tiles"),
    "drawn": (_rows_of("drawn"), None),
    "patches": (_rows_of("patches", "patches"), None),
    "textile": (_rows_of("textile", "patches"), None),
    "generalize": (_rows_of("generalize", "generalising"), None),
    "generalize-tiles": (_rows_of("generalize_tiles", "generalising"), DATA / "magnetic_tiles"),
    "generalize-folders": (_rows_of("generalize_folders", "generalising"), CIFAR),
    "alarms": (_rows_of("alarms", "data"), CIFAR),
    "corrections": (_rows_of("corrections", "corrections"), None),
    "doubtful": (_rows_of("doubtful", "doubtful"), None),
    "regions": (_rows_of("regions", "regions"), None),
    "large-photos": (_rows_of("large_photos", "large_photos"), None),
    "score": (_rows_of("score", "data"), None),
    "photos": (_rows_of("photos", "browser"), None),
    "export": (_rows_of("export", "exporting"), None),
    "anomalib": (_rows_of("anomalib"), Path(os.environ.get("ANOMALIB_PYTHON") or "nowhere")),
}


def hardware() -> str:
    """Return the processor and the number of cores, in words."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, no GPU, Python {platform.python_version()}"


def kept_results() -> dict[str, Any]:
    """Return section -> date, hardware and rows of its last measurement."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {}


def keep(name: str, rows: list[Row]) -> None:
    """Keep the rows of a section in place of those before; sections stay in the order of SECTIONS."""
    results = kept_results() | {
        name: {"date": time.strftime("%Y-%m-%d"), "hardware": hardware(), "rows": rows},
    }
    ordered = {section: results[section] for section in SECTIONS if section in results}
    RESULTS.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_report() -> None:
    """Write BENCHMARKS.md from the kept rows."""
    text = [
        "# Measured figures",
        "",
        "Written by `make bench`. Times on shared machines vary; ratios are of two things measured in turn in one run.",
        "",
    ]
    for name, kept in kept_results().items():
        text += [f"## {name}", "", f"{kept['date']}, {kept['hardware']}", ""]
        for columns, rows in itertools.groupby(kept["rows"], key=tuple):
            if columns == ("note",):
                text += [item["note"] for item in rows]
            else:
                text += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
                text += ["| " + " | ".join(item.values()) + " |" for item in rows]
            text.append("")
    (ROOT / "BENCHMARKS.md").write_text("\n".join(text))


def main(names: list[str]) -> None:
    for name in names or list(SECTIONS):
        measure, needs = SECTIONS[name]
        if needs is not None and not needs.exists():
            print(f"{name}: passed over, {needs} is not here")
            continue
        rows = []
        for item in measure():
            rows.append(item)
            print(f"{name}: " + "; ".join(f"{key} {value}" for key, value in item.items() if key != "how"), flush=True)
        keep(name, rows)
    write_report()
    shutil.rmtree(ROOT / "build", ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
