"""What the papers report, and beside it what the runs of this machine have measured one by one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import all_runs, is_recorded
from panda_core.bench.grid import METRIC
from panda_core.bench.published import published_figures
from panda_core.bench.writing import percent
from panda_core.config import default_data_root
from panda_core.datasets import DATASETS
from panda_core.errors import PandaError
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun

YOURS = "your runs"
_Of = tuple[str, str]  # method, source


def show_reported() -> None:
    """Draw one line for each method, and a column for each data set with averages over its classes."""
    st.subheader("What the papers report, and your runs", anchor=False, help=tip("grid_published"))
    st.dataframe(
        pd.DataFrame(_lines(all_runs())),
        width="stretch",
        hide_index=True,
        height="content",
        key="reported",
        column_config={
            "Method": st.column_config.TextColumn(width=340),  # not pinned: on a phone nothing else would be seen
            "Source": st.column_config.TextColumn(width=420),
        },
        alt="AUROC in percent that papers report, and that runs here have reached, for each method and data set",
    )
    st.caption(
        "AUROC of whole images in percent, as the papers write it: the mean over all normal classes of a data set. Of "
        "your runs, the mean over the classes that there are runs of, in brackets how many; the newest of each counts."
    )


def _lines(folders: Sequence[RunFolder]) -> list[dict[str, str]]:
    """Return the lines of the table, those of runs first."""
    runs, figures = measured([folder for folder in folders if not is_recorded(folder)]), reported()
    sets = list(dict.fromkeys(name for cells in (*runs.values(), *figures.values()) for name in cells))
    return [
        {"Method": method} | {_title(name): cells.get(name, wording.NONE) for name in sets} | {"Source": source}
        for (method, source), cells in (*runs.items(), *figures.items())
    ]


def reported() -> dict[_Of, dict[str, str]]:
    """Return (method, source) -> data set -> published average; figures of others than the AUROC of images left out.

    A method whose figures stand in several places, for other data sets in each, has one entry, which names all places.
    """
    found: dict[_Of, dict[str, str]] = {}
    for one in published_figures():
        if one.values and one.metric == METRIC:
            cells = {name: percent(value) for name, value in one.values.items()}
            # Two tables of a paper, with other data sets each: the second goes into the line of the first.
            first = next((of for of in found if of[0] == one.method and not found[of].keys() & cells.keys()), None)
            if first is None:
                found[one.method, one.source] = cells
            else:
                joined = {first: (one.method, f"{first[1]}; {one.source}")}
                found = {joined.get(of, of): known | (cells if of == first else {}) for of, known in found.items()}
    return found


def measured(folders: Sequence[RunFolder]) -> dict[_Of, dict[str, str]]:
    """Return (method, "your runs") -> data set -> the mean AUROC over its classes with finished runs, and how many.

    folders: the newest run first, which counts of those on one class.
    """
    found: dict[_Of, dict[str, dict[str, float]]] = {}
    for folder in folders:
        try:
            config, metrics = folder.config(), LoadedRun(folder).metrics or {}
        except PandaError:  # the Runs page says what is wrong with it
            continue
        if config.dataset in DATASETS and metrics.get(METRIC) is not None:
            classes = found.setdefault((wording.recipe(config.recipe), YOURS), {}).setdefault(config.dataset, {})
            classes.setdefault(str(config.normal_class), float(metrics[METRIC]))
    return {line: {name: _mean(name, classes) for name, classes in sets.items()} for line, sets in found.items()}


def _mean(dataset: str, classes: dict[str, float]) -> str:
    mean = percent(statistics.mean(classes.values()))
    try:
        return f"{mean} ({len(classes)} of {len(DATASETS[dataset].classes(Path(default_data_root())))})"
    except PandaError:  # its images are gone, and only they name its classes
        return f"{mean} ({len(classes)})"


def _title(name: str) -> str:
    return DATASETS[name].title if name in DATASETS else name
