"""A grid's table as Markdown, CSV and one self-contained HTML page; all written whole, or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from panda_core.bench.figure import described, means_figure
from panda_core.bench.folder import GridFolder
from panda_core.bench.summary import Result, Results
from panda_core.records import plain_cell, write_atomically, write_json
from panda_core.report.page import chart, document, element, table

NOTE = (
    "AUROC and other shares in percent. The interval (95 %) of a mean covers the choice of test images and, with more "
    "than one seed, of seeds. The difference is measured minus published, where both are means over the same normal "
    "classes; a published value in brackets is of other classes."
)
COLUMNS = ("method", "data", "classes", "measured", "95 % interval", "published", "difference", "cells", "conditions")
_NUMBERS = (3, 4, 5, 6, 7)
FILES = ("results.md", "results.csv", "cells.csv", "results.html")


def write_results(folder: GridFolder, results: Results) -> None:
    """Write all files of a grid's results."""
    texts = {
        "results.md": markdown(results),
        "results.csv": lines_csv(results),
        "cells.csv": cells_csv(results),
        "results.html": page(results),
    }
    for name, text in texts.items():
        _write(folder.path / name, text)
    write_json(folder.path / "results.json", results.to_json())  # last: who reads it finds the others


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def percent(value: float | None, *, sign: bool = False) -> str:
    """Return a share as "91.2", or "" where there is none."""
    return "" if value is None else f"{100 * value:{'+' if sign else ''}.1f}"


def interval(line: Result) -> str:
    """Return "90.1 to 92.4", or ""."""
    return "" if line.low is None or line.high is None else f"{percent(line.low)} to {percent(line.high)}"


def conditions(line: Result) -> str:
    """Return the conditions of a line in one sentence: form of the data, network, size, limits, steps, seeds."""
    conditions = line.conditions
    return "; ".join(
        part
        for part in (
            conditions.form or "not read yet",
            f"{conditions.backbone} at {conditions.image_size} px, {conditions.feature_norm}",
            f"recipe {conditions.recipe}, scorer {conditions.scorer}",
            f"limits: train {conditions.train_limit}, test {conditions.test_limit}",
            f"steps {conditions.steps}",
            f"seeds {conditions.seeds}",
        )
        if line.total
    )


def row(line: Result) -> list[str]:
    """Return the cells of a line under `COLUMNS`."""
    beside = percent(line.published)
    failed = [outcome.reason for outcome in line.outcomes if outcome.state == "failed" and outcome.reason]
    problem = line.problem or (failed[0] if failed else "")
    return [
        line.label,
        line.dataset,
        str(len(line.classes)) if len(line.classes) > 1 else "".join(line.classes),
        percent(line.mean),
        interval(line),
        f"{beside} ({line.source})" if line.comparable else f"[{beside}] ({line.source})" if beside else "",
        percent(line.difference, sign=True),
        f"{line.finished} of {line.total}",
        f"NOT RUN: {problem}"
        if problem and not line.finished
        else conditions(line) + (f"; {problem}" if problem else ""),
    ]


def _page_row(line: Result) -> list[object]:
    """Return the cells of a line for a page, where the source has a line of its own below the published value."""
    cells: list[object] = list(row(line))
    if line.source:
        shown = percent(line.published)
        source = element("span", line.source, class_="faint")
        cells[5] = element("span", shown if line.comparable else f"[{shown}]", source, class_="source")
    cells[8] = element("span", cells[8], class_="faint")
    return cells


def class_tables(results: Results) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return (data set, columns, rows) of a table for each data set with several classes that is here: one row a class.

    A published figure of the same class stands in brackets after the measured mean over seeds.
    """
    tables = []
    for dataset, lines in by_dataset(results):
        classes = list(dict.fromkeys(name for line in lines for name in line.classes))
        here = any(outcome.state != "missing" for line in lines for outcome in line.outcomes)
        if len(classes) > 1 and here:
            rows = [[name, *(_of_class(line, name) for line in lines)] for name in classes]
            tables.append((dataset, ["normal class", *(line.label for line in lines)], rows))
    return tables


def _of_class(line: Result, name: str) -> str:
    outcomes = [outcome for outcome in line.outcomes if outcome.normal_class == name]
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    shown = percent(sum(values) / len(values)) if values else ""
    beside = next((outcome.published for outcome in outcomes if outcome.published is not None), None)
    return shown if beside is None else f"{shown} ({percent(beside)})".strip()


def by_dataset(results: Results) -> list[tuple[str, list[Result]]]:
    """Return (data set, lines of the table), in the table's order."""
    groups: dict[str, list[Result]] = {}
    for line in results.lines:
        groups.setdefault(line.dataset, []).append(line)
    return list(groups.items())


def charts_of(results: Results) -> list[tuple[str, list[Result]]]:
    """Return (title, lines) of each chart that has something to show: a data set's scores, and its accuracies."""
    charts = []
    for dataset, lines in by_dataset(results):
        accuracies = [line for line in lines if line.metric.endswith("_accuracy")]
        scores = [line for line in lines if line not in accuracies]
        charts += [(dataset, scores), (f"{dataset}, accuracy of the heads", accuracies)]
    return [(title, lines) for title, lines in charts if any(line.mean is not None for line in lines)]


def markdown(results: Results) -> str:
    """Return the tables as Markdown."""
    parts = [f"# {_plain(results.title)}", _plain(results.about), _markdown_table(COLUMNS, map(row, results.lines))]
    for dataset, columns, rows in class_tables(results):
        parts += [f"## {_plain(dataset)}, class by class", _markdown_table(columns, rows)]
    parts += [NOTE, *(f"Measured on: {_plain(machine)}." for machine in results.machines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(columns: Sequence[str], rows: object) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]  # type: ignore[misc]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return text that no Markdown reader takes for a table's edge or for HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def lines_csv(results: Results) -> str:
    """Return one line a line of the table, every condition in a column of its own."""
    head = ["method", "dataset", "metric", "classes", "finished", "cells", "mean", "low", "high", "published"]
    head += ["difference", "comparable", "source"]
    names = ["recipe", "scorer", "form", "backbone", "image_size", "feature_norm", "train_limit", "test_limit"]
    names += ["steps", "seeds"]
    rows = [
        [line.name, line.dataset, line.metric, " ".join(line.classes), line.finished, line.total]
        + [line.mean, line.low, line.high, line.published, line.difference, line.comparable, line.source]
        + [getattr(line.conditions, name) for name in names]
        + [line.problem]
        for line in results.lines
    ]
    return _csv([*head, *names, "problem"], rows)


def cells_csv(results: Results) -> str:
    """Return one line a cell: its run, class, seed, state and value."""
    names = ("normal_class", "seed", "cell", "state", "value", "low", "high", "published", "seconds", "reason")
    rows = [
        [line.name, line.dataset, line.metric, *(getattr(cell, name) for name in names)]
        for line in results.lines
        for cell in line.outcomes
    ]
    return _csv(["method", "dataset", "metric", *names], rows)


def _csv(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for cells in rows:
        writer.writerow([plain_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return file.getvalue()


def page(results: Results) -> str:
    """Return the tables and charts as one HTML page."""
    charts = [chart(means_figure(lines), title, described(lines)) for title, lines in charts_of(results)]
    classes = [
        element("section", element("h2", f"{dataset}, class by class"), table(columns, rows))
        for dataset, columns, rows in class_tables(results)
    ]
    failed = [
        [line.name, line.dataset, cell.normal_class, cell.seed, cell.reason]
        for line in results.lines
        for cell in line.outcomes
        if cell.state == "failed"
    ]
    problems = [element("h2", "Failed"), table(("method", "data", "class", "seed", "why"), failed)] if failed else []
    return document(
        results.title,
        element("h1", results.title),
        element("p", results.about),
        element("div", *charts, class_="charts"),
        element("h2", "Table"),
        table(COLUMNS, map(_page_row, results.lines), numbers=_NUMBERS),
        element("p", NOTE, class_="faint"),
        *classes,
        *problems,
        *(element("p", f"Measured on: {machine}.", class_="faint") for machine in results.machines),
    )
