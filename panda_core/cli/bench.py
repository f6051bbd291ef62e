"""`bench`: a grid of runs in one table, beside the published figures."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from panda_core.bench.cells import Plan, check_runnable, plan_grid
from panda_core.bench.costs import Cost, costs_of, missing_of, total
from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import load_grid, on_backbone
from panda_core.bench.running import CellEnded, run_grid
from panda_core.bench.summary import Reader, Results
from panda_core.bench.writing import FILES, interval, percent, row
from panda_core.cli.output import print_json, print_table, print_text
from panda_core.config import cache_cap, flag
from panda_core.runs.run import stop_on_signal


def bench_command(parsed: argparse.Namespace) -> int:
    """Run a grid and print its table; exit 1 where a cell failed or the grid was stopped."""
    grid = load_grid(parsed.grid)
    if parsed.backbone is not None:
        grid = on_backbone(grid, parsed.backbone)
    folder = GridFolder(Path(parsed.out)) if parsed.out else GridFolder.below(parsed.runs_dir, grid.name)
    plan = plan_grid(grid, runs_dir=folder.path.absolute(), data_root=parsed.data_root, device=parsed.device)
    if parsed.plan:
        return _show_plan(parsed, plan, folder)
    check_runnable(plan)
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


def _show_plan(parsed: argparse.Namespace, plan: Plan, folder: GridFolder) -> int:
    """Print what would be run, how long it takes, how much it keeps and what is missing; compute no cell."""
    costs, missing = costs_of(plan, folder), missing_of(plan)
    if parsed.json:
        cells = [
            {"cell": cell.id, "config": cell.config.to_json(), "problem": cell.problem, "missing": cell.missing}
            | dataclasses.asdict(costs[cell.id])
            for cell in plan.cells.values()
        ]
        lines = [{"row": line.row.name, "dataset": line.dataset, "problem": line.problem} for line in plan.lines]
        seconds, kept = total(costs)
        print_json(
            {"cells": cells, "lines": [line for line in lines if line["problem"]], "missing": missing}
            | {"seconds": seconds, "kept": kept, "start": _start(parsed)}
        )
        return 0
    rows = [
        [cell.id, _span(cost), _gigabytes(cost.kept), cell.problem or cell.config.to_command()]
        for cell in plan.cells.values()
        for cost in [costs[cell.id]]
    ]
    print_table(f"{plan.grid.title}: cells", ("cell", "takes", "keeps", "command, or why it cannot be run"), rows)
    _print_lines(plan, costs)
    _print_needs(plan, costs, missing)
    print_text(f"Start it, or go on with it: {_start(parsed)}")
    return 0


def _print_lines(plan: Plan, costs: Mapping[str, Cost]) -> None:
    """Print a line of the plan for each line of the grid's table."""
    rows = []
    for line in plan.lines:
        own = {cell: costs[cell] for cell in line.cells}
        wrong = [plan.cells[cell].problem for cell in own if not plan.cells[cell].missing]
        state = line.problem or next(filter(None, wrong), "")
        state = state or ("missing" if any(plan.cells[cell].missing for cell in own) else "ready")
        counted = f"{sum(cost.done for cost in own.values())} of {len(own)}"
        first = next(iter(own.values()), None)
        one = ["", "", ""] if first is None else [_span(first), _gigabytes(first.kept), _gigabytes(first.cache)]
        rows.append([line.row.name, line.dataset, counted, *one, state])
    columns = ("method", "data", "cells done", "a cell takes", "it keeps", "activations", "state")
    print_table(plan.grid.title, columns, rows)


def _print_needs(plan: Plan, costs: Mapping[str, Cost], missing: Mapping[str, str]) -> None:
    """Print sums, where the times come from, and what has to be fetched."""
    seconds, kept = total(costs)
    unknown = sum(cost.seconds is None for cost in costs.values())
    known = [_duration(seconds)] if unknown < len(costs) else []
    known += [f"{unknown} cells whose time nobody knows yet"] if unknown else []
    print_text(f"All cells, one after the other: {', and '.join(known)}; they keep {_gigabytes(kept)}.")
    left = [cost.passes for cost in costs.values() if cost.passes is not None and not cost.done]
    print_text(
        f"They send {sum(one.trunk for one in left):,} images through frozen parts, and "
        f"{sum(one.forward for one in left):,} forward and {sum(one.training for one in left):,} forward and backward "
        "through the rest."
    )
    for how, cost in {cost.how: cost for cost in costs.values() if cost.how and not cost.done}.items():
        print_text(f"{'No time' if cost.seconds is None else 'Times'} {how}.")
    most = max((cost.cache or 0 for cost in costs.values()), default=0)
    if most > cache_cap():
        print_text(
            f"The activations of the largest cell are {_gigabytes(most)}, more than the cache may hold "
            f"({_gigabytes(cache_cap())}): such cells keep images there instead, and run the frozen part of the "
            f"network anew for each batch. Set PANDA_CACHE_GB={most / 1e9:.0f} where the disk has room for it."
        )
    for what, how in missing.items():
        print_text(f"Missing: {what}. {how}")


def _start(parsed: argparse.Namespace) -> str:
    """Return the command that computes the grid."""
    words = ["python", "-m", "panda_core", "bench", parsed.grid, "--data-root", parsed.data_root]
    for name in ("backbone", "device", "jobs", "out"):
        value = getattr(parsed, name)
        words += [flag(name), str(value)] if value not in (None, "auto") else []
    words += [] if parsed.out else ["--runs-dir", parsed.runs_dir]
    return shlex.join(words)


def _span(cost: Cost) -> str:
    if cost.done:
        return "done"
    return "?" if cost.seconds is None else _duration(cost.seconds)


def _duration(seconds: float) -> str:
    """Return seconds as people say them: 40 s, 12 min, 3.5 h, 4.2 days."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / length < most:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _gigabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e9:.2g} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


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
