"""The cells of a grid: one run each. Its id follows from what it computes alone, so that a grid finds its runs again.

That is its settings and, where these name folders of one's own, the images in them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from panda_core.bench.counts import image_counts
from panda_core.bench.grid import Grid, Row
from panda_core.bench.published import check_key
from panda_core.config import TILES_OFF, RunConfig
from panda_core.datasets import Dataset, find_class, find_dataset, split_digest
from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.own.folder import PREFIX
from panda_core.datasets.own.outliers import IMAGENET_SAMPLE
from panda_core.errors import DataMissing, PandaError, UsageError
from panda_core.methods.table import find_recipe
from panda_core.records import MARK
from panda_core.runs.kinds import resolve
from panda_core.runs.settings import noting_missing
from panda_core.scoring.relative_mahalanobis import BUNDLED

_ELSEWHERE = ("data_root", "runs_dir", "device", "name")  # do not change what is computed
# Fields that came later, with the value that changes nothing: cells of grids from before keep their ids.
_LATER = {"roi": "", "tiles": TILES_OFF}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a grid. id: the name of its run folder.

    config: every default written out; as it was asked for where that cannot be done. problem: why it cannot be run.
    missing: that is only because data or weights are not on this machine.
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

    runs_dir: the folder that will hold the run folders.
    """
    lines: list[Line] = []
    cells: dict[str, Cell] = {}
    content_of = functools.cache(_content)  # anew for each plan: images change
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
                _with_content(
                    _cell(row, dataset, name, seed, runs_dir=runs_dir, data_root=data_root, device=device), content_of
                )
                for name in classes
                for seed in row.seeds
            ]
            cells |= {cell.id: cell for cell in made if cell.id not in cells}
            lines.append(Line(row, dataset, classes, whole, tuple(cell.id for cell in made)))
    return Plan(grid, tuple(lines), cells)


def check_runnable(plan: Plan) -> None:
    """Raise `UsageError` where no cell of a grid can be run."""
    if not plan.runnable():
        reasons = [line.problem for line in plan.lines if line.problem]
        reasons += [cell.problem for cell in plan.cells.values()]
        raise UsageError(f"No cell of grid `{plan.grid.name}` can be run. The first says: {reasons[0]}")


def _normal_classes(row: Row, key: str, root: Path) -> tuple[tuple[str, ...], bool]:
    """Return the classes that are normal in turn, and whether they are those that a paper averages.

    A paper averages all classes, or, where a grid says so with a number, so many from the first (PANDA, birds and
    flowers); a list of some is a choice of whoever wrote it.
    """
    dataset: Dataset = find_dataset(key)
    wanted = row.classes_of(key)
    known = dataset.classes(root)
    if wanted == "all":
        return known, True
    if isinstance(wanted, int):
        return known[:wanted], True
    chosen = tuple(dict.fromkeys(find_class(dataset, root, name) for name in wanted))
    return chosen, set(chosen) == set(known)


def _cell(row: Row, dataset: str, normal_class: str, seed: int, *, runs_dir: Path, data_root: str, device: str) -> Cell:
    place = {"dataset": dataset, "normal_class": normal_class, "seed": seed, "data_root": data_root}
    asked = RunConfig(runs_dir=str(runs_dir), device=device)  # stands in for a config that cannot be made
    try:
        asked = RunConfig(**{**row.settings, **place, "runs_dir": str(runs_dir), "device": device, "name": row.name})
        with noting_missing() as missing:
            resolved = _with_epochs(row, resolve(_with_cut(row, asked)))
    except (PandaError, TypeError) as error:
        asked = asked.replace(**place)
        key = cell_id(asked, f"{row.name} {dict(row.settings)}")
        return Cell(key, asked, str(error), isinstance(error, DataMissing))
    return Cell(cell_id(resolved), resolved, missing[0] if missing else "", bool(missing))


def _with_cut(row: Row, asked: RunConfig) -> RunConfig:
    """Return a config with the cut that a row names for its network; the longest beginning that fits counts."""
    if not row.cuts:
        return asked
    backbone = asked.backbone or find_recipe(asked.recipe).backbone
    fitting = [begin for begin in row.cuts if backbone.startswith(begin)]
    if not fitting:
        raise UsageError(
            f"Row `{row.name}` names no cut for `{backbone}`; it does for names that begin with "
            f"{', '.join(f'`{begin}`' for begin in row.cuts)}. Add it to `cuts` of the row."
        )
    return asked.replace(set={**asked.set, "cut": row.cuts[max(fitting, key=len)]})


def _with_epochs(row: Row, resolved: RunConfig) -> RunConfig:
    """Return a resolved config measured each `eval_epochs` of its row, its steps a whole number of such intervals."""
    counts = image_counts(resolved) if row.eval_epochs else None
    if not row.eval_epochs or counts is None:
        return resolved
    every = row.eval_epochs * -(-counts[0] // int(resolved.batch_size or 1))
    return resolved.replace(eval_every=every, steps=every * max(1, round(int(resolved.steps or 0) / every)))


def _with_content(cell: Cell, content_of: Callable[[str], str]) -> Cell:
    """Return a cell with an id that depends on the images in the folders that its settings name."""
    folders = [] if cell.problem else _folders(cell.config)
    if not folders:
        return cell
    return dataclasses.replace(cell, id=cell_id(cell.config, " ".join(map(content_of, folders))))


def _folders(config: RunConfig) -> list[str]:
    """Return the folders of one's own that a config names, in an order of their own."""
    seen = [item.partition("@")[2] for item in str(config.set.get("seen", "")).split(",")]
    found = [text.partition(PREFIX)[2] for text in (config.dataset, *seen) if PREFIX in text]
    others = [str(config.set[key]) for key in ("outliers", "background") if config.set.get(key)]
    found += [text.removeprefix(PREFIX) for text in others if text not in (IMAGENET_SAMPLE, BUNDLED)]
    return found


def _content(folder: str) -> str:
    """Return a digest of the images in a folder, masks among them; nothing of one that is refused: its run says why."""
    try:
        places = image_files(Path(folder))
        content = split_digest(FileImages.below(Path(folder), places))
    except PandaError:
        return ""
    return content + hashlib.sha256("\0".join(places).encode()).hexdigest()


def cell_id(config: RunConfig, also: str = "") -> str:
    """Return the id of a cell: a few words and a digest of all settings that change what is computed, and of `also`."""
    fields = {**config.to_json(), "roi": config.roi.partition(MARK)[2] or config.roi}  # wherever its file lies
    record = {key: value for key, value in fields.items() if key not in _ELSEWHERE and value != _LATER.get(key, ...)}
    digest = hashlib.sha256(json.dumps([record, also], sort_keys=True).encode()).hexdigest()
    words = f"{Path(config.dataset).name} {config.normal_class} {config.recipe} {config.seed}".lower()
    return f"{re.sub(r'[^a-z0-9]+', '-', words).strip('-')[:48]}-{digest[:12]}"
