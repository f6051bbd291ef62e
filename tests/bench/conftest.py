"""Grids of a few cells, and workers that compute nothing, or die, as a test says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from panda_core.bench.cells import Plan, plan_grid
from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import load_grid
from panda_core.bench.workers import Workers
from panda_core.events import RunFinished
from panda_core.records import write_json
from panda_core.runs.folder import RunFolder

SMALL = {
    "datasets": ["digits"],
    "classes": ["3", "8"],
    "image_size": 32,
    "train_limit": 24,
    "test_limit": 40,
    "batch_size": 8,
    "recipe": "panda-early",
    "steps": 4,
}


@pytest.fixture
def write_grid(tmp_path: Path) -> Callable[..., Path]:
    """(rows, **settings) -> a TOML file of a small grid on digits."""

    def write(rows: list[dict[str, Any]] | None = None, name: str = "small", **settings: Any) -> Path:
        lines = ["[settings]", *_toml({**SMALL, **settings})]
        for row in rows or [{"name": "early"}]:
            lines += ["[[rows]]", *_toml(row)]
        path = tmp_path / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def _toml(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(_toml(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.fixture
def make_plan(write_grid: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Plan, GridFolder]]:
    """(rows, **settings) -> the plan of a small grid, and the folder it is to be run in."""

    def make(rows: list[dict[str, Any]] | None = None, **settings: Any) -> tuple[Plan, GridFolder]:
        folder = GridFolder(tmp_path / "runs" / "bench" / "small")
        grid = load_grid(str(write_grid(rows, **settings)))
        return plan_grid(grid, runs_dir=folder.path, data_root=str(tmp_path / "no data")), folder

    return make


def finish(run: RunFolder, auroc: float = 0.9, **metrics: float) -> None:
    """Leave a run folder as a finished run would."""
    names = {"train": ["a/1", "a/2"], "test": ["a/3", "b/1", "b/2"], "is_anomaly": [0, 1, 1]}
    write_json(run.path / "split.json", {**names, "train_rows": [0, 1], "test_rows": [0, 1, 2], "skipped": []})
    found = {"auroc": auroc, "auroc_low": auroc - 0.05, "auroc_high": auroc + 0.05, **metrics}
    run.append(RunFinished(metrics=found, seconds=1.0))
    run.write_state("finished")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, RunFolder], str]], None]:
    """(function (cell id, its run) -> problem) -> have that function compute cells, one by one, in this process."""

    class Stub(Workers):
        def compute(self, tasks: Iterator[tuple[str, str]], jobs: int) -> Iterator[tuple[str, str]]:
            for cell_id, path in tasks:
                yield cell_id, function(cell_id, RunFolder(Path(path)))

    def use(given: Callable[[str, RunFolder], str]) -> None:
        nonlocal function
        function = given

    def function(cell_id: str, run: RunFolder) -> str:
        raise NotImplementedError

    @contextlib.contextmanager
    def workers_of(*_: object) -> Iterator[Workers]:
        yield Stub(2, 1, (EOFError,), {})

    monkeypatch.setattr("panda_core.bench.running.workers_of", workers_of)
    return use
