"""Runs of a tiny network, and everything about a run folder that must be the same twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig
from panda_core.events import Event
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import RunFolder
from panda_core.scoring.table import SCORERS


@pytest.fixture
def tiny(tiny_backbone: str, pictures: Callable[[], Path], tmp_path: Path) -> Callable[..., RunConfig]:
    """Return a function (fields to change...) -> the config of a run that takes a tenth of a second.

    A recipe or scorer that needs other images as well finds some in the data root; a recipe with a network of its own
    has it.
    """

    def make(**changes: Any) -> RunConfig:
        row = RECIPES.get(changes.get("recipe", ""))
        scorer = SCORERS.get(changes.get("scorer") or (row.scorer if row else ""))
        if (row is not None and row.auxiliary) or (scorer is not None and scorer.needs_background):
            pictures()
        if row is not None and row.only_backbones:
            changes = {"backbone": None, **changes}
        if row is not None and "ae_epochs" in row.options:
            changes["set"] = {"ae_epochs": 1, **changes.get("set", {})}
        given: dict[str, Any] = {
            "dataset": "digits",
            "normal_class": "3",
            "backbone": tiny_backbone,
            "image_size": 32,
            "train_limit": 20,
            "test_limit": 20,
            "batch_size": 8,
            "steps": 6,
            "eval_every": 2,
            "lr": 0.05,
            "runs_dir": str(tmp_path / "runs"),
            "device": "cpu",
        }
        if row is not None and row.steps == 0:
            given |= dict.fromkeys(("batch_size", "eval_every", "lr"))
        return RunConfig(**{**given, **changes})

    return make


@pytest.fixture
def spot(tiny: Callable[..., RunConfig]) -> Callable[..., RunConfig]:
    """Return a function (fields to change...) -> the config of a segmentation run that takes a moment."""

    def make(**changes: Any) -> RunConfig:
        given = {"steps": None, "eval_every": None, "lr": None, "batch_size": 32, "recipe": "patchcore"}
        return tiny(**{**given, "dataset": "synthetic:digits", **changes})

    return make


@pytest.fixture
def finish() -> Callable[..., tuple[RunFolder, list[Event]]]:
    """Return a function (config, ...) -> (run folder, all events of `run`)."""
    from panda_core import run

    def call(config: RunConfig, **named: Any) -> tuple[RunFolder, list[Event]]:
        events = list(run(config, **named))
        return RunFolder(Path(config.runs_dir) / events[0].run_id), events  # type: ignore[attr-defined]

    return call


@pytest.fixture
def contents() -> Callable[[RunFolder], dict[str, Any]]:
    """Return a function (folder) -> all that two equal runs have in common: lines without their times, and files."""

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            skipped = ("time", "seconds", "run_id", "runs_dir", "name", "started")
            return {key: without_times(item) for key, item in value.items() if key not in skipped}
        return value

    def read(folder: RunFolder) -> dict[str, Any]:
        lines = (folder.path / "events.jsonl").read_text().splitlines()
        found: dict[str, Any] = {"events": [without_times(json.loads(line)) for line in lines]}
        for path in sorted(folder.path.rglob("*")):
            name = str(path.relative_to(folder.path))
            if name.startswith("momentum/"):  # of use to resume alone, and removed with the last line
                continue
            if path.suffix == ".safetensors":
                found[name] = path.read_bytes()
            elif path.suffix == ".npz":
                with np.load(path) as archive:
                    found |= {f"{name}/{key}": archive[key].tobytes() for key in archive.files}
            elif name in ("config.json", "split.json", "environment.json"):
                found[name] = without_times(json.loads(path.read_text()))
        return found

    return read


@pytest.fixture
def forked() -> Iterator[Callable[..., tuple[Any, Iterator[dict[str, Any]]]]]:
    """Return a function (CLI arguments...) -> (process, its lines as they come): `main` in a forked process.

    Forked, not started: importing torch anew takes seconds, and the child knows the tiny network.
    """
    processes = multiprocessing.get_context("fork")
    started: list[Any] = []

    def work(read_end: int, write_end: int, arguments: tuple[str, ...]) -> None:
        os.close(read_end)
        sys.stdout = os.fdopen(write_end, "w")
        from panda_core.cli import main

        code = main(arguments)
        sys.stdout.flush()
        os._exit(code)

    def call(*arguments: str) -> tuple[Any, Iterator[dict[str, Any]]]:
        read_end, write_end = os.pipe()
        process = processes.Process(target=work, args=(read_end, write_end, arguments))
        process.start()
        started.append(process)
        os.close(write_end)
        return process, (json.loads(line) for line in os.fdopen(read_end))

    yield call
    for process in started:
        if process.is_alive():
            process.kill()
        process.join(10)
