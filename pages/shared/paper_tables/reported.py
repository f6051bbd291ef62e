"""What the papers report, for a machine on which no table has been computed yet."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.bench.grid import METRIC
from panda_core.bench.published import published_figures
from panda_core.bench.writing import percent
from panda_core.datasets import DATASETS


def show_reported() -> None:
    """Draw one line for each method and source, and a column for each data set with averages over its classes."""
    st.subheader("What the papers report", anchor=False, help=tip("grid_published"))
    st.dataframe(
        pd.DataFrame(reported()),
        width="stretch",
        hide_index=True,
        height="content",
        key="reported",
        alt="AUROC in percent that papers report, for each method and data set",
    )
    st.caption("AUROC of whole images in percent, the mean over all normal classes of a data set.")


def reported() -> list[dict[str, str]]:
    """Return the lines of the table; a figure of another kind than the AUROC of images is left out."""
    figures = [one for one in published_figures() if one.values and one.metric == METRIC]
    sets = list(dict.fromkeys(name for one in figures for name in one.values))
    return [
        {"Method": one.method}
        | {_title(name): percent(one.values.get(name)) or wording.NONE for name in sets}
        | {"Source": one.source}
        for one in figures
    ]


def _title(name: str) -> str:
    return DATASETS[name].title if name in DATASETS else name
