"""`bench`: a grid of runs in one table, beside the published figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from panda_core.bench.cells import Plan, plan_grid
from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import load_grid
from panda_core.bench.running import CellEnded, run_grid
from panda_core.bench.summary import Reader, Results
from panda_core.bench.writing import FILES, interval, percent, row
from panda_core.cli.output import print_json, print_table, print_text
from panda_core.runs.run import stop_on_signal


def bench_command(parsed: argparse.Namespace) -> int:
    """Run a grid and print its table; exit 1 where a cell failed or the grid was stopped."""
    grid = load_grid(parsed.grid)
    folder = GridFolder(Path(parsed.out)) if parsed.out else GridFolder.below(parsed.runs_dir, grid.name)
    plan = plan_grid(grid, runs_dir=folder.path.absolute(), data_root=parsed.data_root, device=parsed.device)
    if parsed.dry_run:
        return _dry_run(parsed, plan)
    console = Console(stderr=True)
    for problem, places in _problems(plan).items():
        console.print(f"not run: {', '.join(places)}: {problem}", markup=False)
    total, failed = len(plan.runnable()), 0
    console.print(f"{grid.title}: {total} cells, in {folder.path}", markup=False)
    ended = 0
    with stop_on_signal() as should_stop:
        for item in run_grid(
            plan,
            folder,
            jobs=parsed.jobs,
            backend=parsed.backend,
            scheduler=parsed.scheduler,
            should_stop=should_stop,
        ):
            ended += item.state in ("finished", "failed")
            failed += item.state == "failed"
            console.print(_said(item), markup=False)
    results = Reader(folder).results()
    if parsed.json:
        print_json(results.to_json())
    else:
        _print(results)
        print_text(f"Tables: {', '.join(str(folder.path / name) for name in FILES)}")
    refused = any(cell.problem and not cell.missing for cell in plan.cells.values())
    refused = refused or any(line.problem and not line.missing for line in plan.lines)
    return 0 if ended == total and not failed and not refused else 1


def _said(item: CellEnded) -> str:
    config = item.cell.config
    what = f"{config.name}: {config.dataset}, normal {config.normal_class}, seed {config.seed}"
    return f"[{item.ended}/{item.total}] {what}: {item.state}{f': {item.reason}' if item.reason else ''}"


def _problems(plan: Plan) -> dict[str, list[str]]:
    """Return reason -> what cannot be run for it."""
    lines_by_problem: dict[str, list[str]] = {}
    for line in plan.lines:
        problems = [line.problem, *(plan.cells[cell].problem for cell in line.cells)]
        for problem in dict.fromkeys(filter(None, problems)):
            lines_by_problem.setdefault(problem, []).append(f"{line.row.name} on {line.dataset}")
    return lines_by_problem


def _dry_run(parsed: argparse.Namespace, plan: Plan) -> int:
    """Print every cell, and what cannot be run, without computing anything."""
    if parsed.json:
        cells = [
            {"cell": cell.id, "config": cell.config.to_json(), "problem": cell.problem} for cell in plan.cells.values()
        ]
        lines = [{"row": line.row.name, "dataset": line.dataset, "problem": line.problem} for line in plan.lines]
        print_json({"cells": cells, "lines": [line for line in lines if line["problem"]]})
        return 0
    rows = [[cell.id, cell.problem or cell.config.to_command()] for cell in plan.cells.values()]
    rows += [[f"{line.row.name} on {line.dataset}", line.problem] for line in plan.lines if line.problem]
    print_table(plan.grid.title, ("cell", "command, or why it cannot be run"), rows)
    return 0


def _print(results: Results) -> None:
    """Print the table, and below it under which conditions each line was measured, or why it was not."""
    rows = []
    said: dict[str, list[str]] = {}
    for line in results.lines:
        cells = row(line)
        beside = percent(line.published)
        shown = beside if line.comparable or not beside else f"[{beside}]"
        rows.append([*cells[:3], percent(line.mean), interval(line), shown, *cells[6:8]])
        said.setdefault(cells[8], []).append(f"{line.name} ({line.dataset})")
    columns = ("method", "data", "classes", "mean", "95 % interval", "published", "difference", "cells")
    print_table(results.title, columns, rows)
    for conditions, names in said.items():
        print_text(f"{', '.join(names)}: {conditions}")
