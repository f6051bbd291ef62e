"""The table of a grid: charts, lines beside published values, class by class, cells, and files to keep."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, SEGMENT
from panda_core.bench.figure import described, means_figure
from panda_core.bench.folder import GridFolder
from panda_core.bench.summary import Result, Results
from panda_core.bench.writing import FILES, NOTE, charts_of, class_tables, interval, percent, row
from panda_core.segmentation.table import SEGMENTERS

_MIME = {".md": "text/markdown", ".csv": "text/csv", ".html": "text/html"}


def show_results(folder: GridFolder, results: Results) -> None:
    """Draw all that a grid has measured so far."""
    for number, (title, lines) in enumerate(charts_of(results)):
        st.markdown(f"**{wording.sentence(title)}**", help=tip("grid_chart"))
        show_figure(means_figure(lines), key=f"means-{number}", alt=described(lines))
    _table(results)
    _problems(results)
    for dataset, columns, rows in class_tables(results):
        with st.expander(f"{wording.sentence(dataset)}, class by class", icon=":material/grid_on:"):
            st.dataframe(
                pd.DataFrame(rows, columns=columns),
                width="stretch",
                hide_index=True,
                key=f"classes-{dataset}",
                alt=f"Mean of each normal class of {dataset}, published values in brackets",
            )
    _cells(results)
    _downloads(folder)
    for machine in results.machines:
        st.caption(f"Measured on: {wording.sentence(machine)}.")


def _table(results: Results) -> None:
    """Draw one line for each method and data set."""
    frame = pd.DataFrame([_line(line) for line in results.lines])
    st.dataframe(
        frame,
        width="stretch",
        hide_index=True,
        height="content",
        key="grid-table",
        alt="Each method on each data set: measured mean with interval, published value, difference, conditions",
        column_config={
            "Measured": st.column_config.TextColumn(help=tip("grid_measured"), alignment="right"),
            "95 % interval": st.column_config.TextColumn(help=tip("grid_interval"), alignment="right"),
            "Published": st.column_config.TextColumn(help=tip("grid_published"), alignment="right"),
            "Difference": st.column_config.TextColumn(help=tip("grid_difference"), alignment="right"),
            "Runs": st.column_config.TextColumn(help=tip("grid_runs"), alignment="right"),
            "Measured how": st.column_config.TextColumn(help=tip("grid_conditions"), width="large"),
        },
    )
    st.caption(NOTE)


def _line(line: Result) -> dict[str, str]:
    cells, beside = row(line), percent(line.published)
    return {
        "Method": cells[0],
        "Data": cells[1],
        "Classes": cells[2],
        "Measured": percent(line.mean) or wording.NONE,
        "95 % interval": interval(line) or wording.NONE,
        "Published": beside if line.comparable else f"[{beside}]" if beside else wording.NONE,
        "Difference": percent(line.difference, sign=True) or wording.NONE,
        "Runs": cells[7],
        "Measured how": cells[8],
        "Source of the published value": line.source or wording.NONE,
    }


def _problems(results: Results) -> None:
    """Say what was not run or failed, once for each reason."""
    reasons: dict[str, list[str]] = {}
    for line in results.lines:
        problems = [line.problem, *(cell.reason for cell in line.outcomes if cell.state in ("failed", "missing"))]
        for reason in dict.fromkeys(filter(None, problems)):
            reasons.setdefault(reason, []).append(f"{line.name} on {line.dataset}")
    for reason, where in reasons.items():
        names = ", ".join(dict.fromkeys(where))
        st.warning(wording.sentence(f"{names}: {reason}"), icon=":material/block:")


def _cells(results: Results) -> None:
    """Draw the runs behind the table, each with a link to its page."""
    rows: dict[str, dict[str, Any]] = {}
    for line in results.lines:
        page = SEGMENT if line.conditions.recipe in SEGMENTERS else ADAPT
        for cell in line.outcomes:
            if cell.state == "finished" and cell.cell not in rows:
                label = f"{line.name}, {line.dataset}, normal {cell.normal_class}, seed {cell.seed}"
                rows[cell.cell] = {"label": label, "value": percent(cell.value), "page": page}
    if not rows:
        return
    with st.expander(f"{wording.count(len(rows), 'run')} behind this table", icon=":material/list:"):
        chosen = st.selectbox(
            "Run", list(rows), format_func=lambda cell: rows[cell]["label"], key="grid-run", help=tip("grid_run")
        )
        if chosen is not None:
            st.page_link(
                rows[chosen]["page"],
                label=f"Open it ({rows[chosen]['value']} %)",
                icon=":material/monitoring:",
                query_params={"run": chosen},
            )


def _downloads(folder: GridFolder) -> None:
    with st.container(horizontal=True):
        for name in FILES:
            path = folder.path / name
            if path.is_file():
                st.download_button(
                    name,
                    data=path.read_bytes,
                    file_name=f"{folder.name}-{name}",
                    mime=_MIME[path.suffix],
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"download-{name}",
                    help=tip("grid_download"),
                )
