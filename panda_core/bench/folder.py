"""The folder of a grid: its plan, the run folders of its cells, and its tables. No torch is needed to read one.

    grid.json  state.json  results.json  results.md  results.csv  cells.csv  results.html
    <cell id>/    an ordinary run folder for each cell

Whoever computes the grid holds the lock `lock`; a state `running` with a free lock was interrupted.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from panda_core.bench.cells import Plan
from panda_core.errors import PandaError, UsageError
from panda_core.records import cannot_write, read_json, write_json
from panda_core.runs.folder import ComputedFolder, RunFolder

PARENT = "bench"  # below the folder of runs
PLAN = "grid.json"  # in the folder of a grid
STARTS_WITHIN = 60.0  # seconds in which the process of a grid has begun
_NAME = re.compile(r"[a-z0-9_][a-z0-9_-]{0,80}")


class GridFolder(ComputedFolder):
    """One grid's folder, to read and to write. Where it is stopped, cells keep their last checkpoint."""

    starts_within = STARTS_WITHIN
    cut_short = "Its process ended without a word. Start it again: what is finished is kept."

    @property
    def name(self) -> str:
        return self.path.name

    @staticmethod
    def below(runs_dir: str | os.PathLike[str], name: str) -> GridFolder:
        """Return the folder of the grid called `name` in a folder of runs; names that are paths are refused."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"`{name}` is no name of a grid: lower-case letters, digits, `-` and `_` are allowed.")
        return GridFolder(Path(runs_dir) / PARENT / name)

    def run(self, cell_id: str) -> RunFolder:
        """Return the run folder of a cell, whether or not it is there."""
        return RunFolder(self.path / cell_id)

    def write_plan(self, plan: Plan) -> None:
        """Write `grid.json`: what is to be run, and what cannot be, with the reason."""
        lines = [
            {
                "name": line.row.name,
                "dataset": line.dataset,
                "metric": line.row.metric,
                "published": line.row.published,
                "classes": line.classes,
                "seeds": line.row.seeds,
                "whole": line.whole,
                "cells": line.cells,
                "problem": line.problem,
                "missing": line.missing,
            }
            for line in plan.lines
        ]
        cells = {
            cell.id: {"config": cell.config.to_json(), "problem": cell.problem, "missing": cell.missing}
            for cell in plan.cells.values()
        }
        grid = plan.grid
        record = {"name": grid.name, "title": grid.title, "about": grid.about, "lines": lines, "cells": cells}
        write_json(self.path / PLAN, record)

    def plan(self) -> dict[str, Any]:
        """Return `grid.json`; a folder without one, or with a damaged one, raises `PandaError`."""
        record = read_json(self.path / PLAN)
        if not isinstance(record, Mapping) or not {"title", "lines", "cells"} <= set(record):
            raise PandaError(f"`{self.path / 'grid.json'}` is not the plan of a grid. Run the grid again.")
        return dict(record)

    def lock(self) -> FileLock:
        """Return the lock of whoever computes the grid; not yet acquired."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return FileLock(self.path / "lock", timeout=1)

    def count(self, plan: Mapping[str, Any]) -> Counted:
        """Return how far the grid is, from the states of its runs."""
        total, states = 0, dict[str, int]()
        for cell_id, cell in plan["cells"].items():
            if cell["problem"]:
                continue
            total += 1
            run = self.run(cell_id)
            state = run.state().state if run.is_run() else "waiting"
            states[state] = states.get(state, 0) + 1
        return Counted(total, states)


@dataclasses.dataclass(frozen=True)
class Counted:
    """How many cells can be run, and how many are in each state."""

    total: int
    states: Mapping[str, int]

    @property
    def ended(self) -> int:
        return sum(self.states.get(state, 0) for state in ("finished", "failed"))


def list_grids(runs_dir: str | os.PathLike[str]) -> list[GridFolder]:
    """Return the grids that were ever started below a folder of runs, by name."""
    try:
        paths = [path for path in (Path(runs_dir) / PARENT).iterdir() if (path / PLAN).is_file()]
    except OSError:
        return []
    return [GridFolder(path) for path in sorted(paths)]
