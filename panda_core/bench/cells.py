"""The cells of a grid: one run each, with an id that its settings alone decide, so that a grid finds its runs again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from panda_core.bench.grid import Grid, Row
from panda_core.bench.published import check_key
from panda_core.config import RunConfig
from panda_core.datasets import Dataset, find_class, find_dataset
from panda_core.errors import DataMissing, PandaError, UsageError
from panda_core.runs.kinds import resolve

_ELSEWHERE = ("data_root", "runs_dir", "device", "name")  # do not change what is computed


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a grid. id: the name of its run folder.

    config: every default written out; as it was asked for where `problem` says why it cannot be run. missing: that is
    only because data or weights are not on this machine.
    """

    id: str
    config: RunConfig
    problem: str = ""
    missing: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a grid's table: a row of the grid on one data set. whole: all classes that a paper averages take part.

    cells: the id of each cell, classes first and seeds within them; a cell may belong to several lines.
    """

    row: Row
    dataset: str
    classes: tuple[str, ...]
    whole: bool
    cells: tuple[str, ...]
    problem: str = ""
    missing: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """A grid, looked up: its lines, and its cells by id in the order in which they are run."""

    grid: Grid
    lines: tuple[Line, ...]
    cells: dict[str, Cell]

    def runnable(self) -> list[Cell]:
        """Return the cells that can be run."""
        return [cell for cell in self.cells.values() if not cell.problem]


def plan_grid(grid: Grid, *, runs_dir: Path, data_root: str, device: str = "auto") -> Plan:
    """Return the lines and cells of a grid. A row or a cell that cannot be run says why and stops no other.

    runs_dir: the folder that will hold the run folders. `UsageError` where no cell can be run.
    """
    lines: list[Line] = []
    cells: dict[str, Cell] = {}
    for row in grid.rows:
        for dataset in row.datasets:
            try:
                check_key(row.published)
                classes, whole = _normal_classes(row, dataset, Path(data_root))
            except PandaError as error:
                missing = isinstance(error, DataMissing)
                lines.append(Line(row, dataset, (), False, (), str(error), missing))
                continue
            made = [
                _cell(row, dataset, name, seed, runs_dir=runs_dir, data_root=data_root, device=device)
                for name in classes
                for seed in row.seeds
            ]
            cells |= {cell.id: cell for cell in made if cell.id not in cells}
            lines.append(Line(row, dataset, classes, whole, tuple(cell.id for cell in made)))
    plan = Plan(grid, tuple(lines), cells)
    if not plan.runnable():
        reasons = [line.problem for line in lines if line.problem] + [cell.problem for cell in cells.values()]
        raise UsageError(f"No cell of grid `{grid.name}` can be run. The first says: {reasons[0]}")
    return plan


def _normal_classes(row: Row, key: str, root: Path) -> tuple[tuple[str, ...], bool]:
    """Return the classes that are normal in turn, and whether they are those that a paper averages.

    A paper averages all classes, or, where a grid says so with a number, so many from the first (PANDA, birds and
    flowers); a list of some is a choice of whoever wrote it.
    """
    dataset: Dataset = find_dataset(key)
    wanted = row.classes_of(key)
    missing = dataset.missing(root)
    if missing is not None:
        raise DataMissing(missing)
    known = dataset.classes(root)
    if wanted == "all":
        return known, True
    if isinstance(wanted, int):
        return known[:wanted], True
    chosen = tuple(dict.fromkeys(find_class(dataset, root, name) for name in wanted))
    return chosen, set(chosen) == set(known)


def _cell(row: Row, dataset: str, normal_class: str, seed: int, *, runs_dir: Path, data_root: str, device: str) -> Cell:
    settings = dict(row.settings)
    place = {"dataset": dataset, "normal_class": normal_class, "seed": seed, "data_root": data_root}
    asked = RunConfig(runs_dir=str(runs_dir), device=device)  # stands in for a config that cannot be made
    try:
        asked = RunConfig(**{**settings, **place, "runs_dir": str(runs_dir), "device": device, "name": row.name})
        resolved = resolve(asked)
    except (PandaError, TypeError) as error:
        asked = asked.replace(**place)
        key = cell_id(asked, f"{row.name} {settings}")
        return Cell(key, asked, str(error), isinstance(error, DataMissing))
    return Cell(cell_id(resolved), resolved)


def cell_id(config: RunConfig, also: str = "") -> str:
    """Return the id of a cell: a few words and a digest of all settings that change what is computed."""
    record = {key: value for key, value in config.to_json().items() if key not in _ELSEWHERE}
    digest = hashlib.sha256(json.dumps([record, also], sort_keys=True).encode()).hexdigest()
    words = f"{Path(config.dataset).name} {config.normal_class} {config.recipe} {config.seed}".lower()
    return f"{re.sub(r'[^a-z0-9]+', '-', words).strip('-')[:48]}-{digest[:12]}"
