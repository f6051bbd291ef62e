"""Charts on a page: a heading with its help text, the figure, and a description for those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.figures import Curve, auroc_figure, distances_figure, rank_figure, ratios_figure

PLAIN: dict[str, Any] = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}

_FOUR: tuple[tuple[str, str, Callable[[Curve], go.Figure]], ...] = (
    ("AUROC", "auroc", auroc_figure),
    ("Distance divided by training distance", "ratios", ratios_figure),
    ("Distance to the center", "distances", distances_figure),
    ("Effective rank", "effective_rank", rank_figure),
)


def show(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a figure across the width of its place."""
    st.plotly_chart(figure, width="stretch", key=key, config=PLAIN, alt=alt)


def four_curves(curve: Curve, run_id: str) -> None:
    """Draw AUROC, ratios, distances and effective rank of a run, two by two."""
    figures = _figures(run_id, curve.steps[-1:], curve.last_step, curve.stop_step, curve)
    columns = st.columns(2, gap="medium")
    for index, ((title, term, _), figure) in enumerate(zip(_FOUR, figures, strict=True)):
        with columns[index % 2]:
            st.markdown(f"**{title}**", help=tip(term))
            show(figure, key=f"curve-{term}", alt=_described(term, curve))


def first_curve(last_step: int) -> None:
    """Draw the empty AUROC of a run that has not been started.

    The browser loads its charts with it, which takes a second or more, while people read, and not when points arrive.
    """
    curve = Curve(last_step=last_step)
    st.markdown("**AUROC**", help=tip("auroc"))
    show(auroc_figure(curve), key="curve-to-come", alt=_described("auroc", curve))


@st.cache_resource(max_entries=32, show_spinner=False)
def _figures(
    run_id: str, reached: tuple[int, ...], last_step: int, stop_step: float | None, _curve: Curve
) -> tuple[go.Figure, ...]:
    """Return the four figures; they are made once for each new point, not at every look at the folder."""
    return tuple(make(_curve) for _, _, make in _FOUR)


def _described(term: str, curve: Curve) -> str:
    """Return what a chart shows, in a sentence with its first and last value."""
    if not curve.steps:
        return "An empty chart: nothing has been measured yet."
    where = f"from step 0, unadapted, to step {curve.steps[-1]}"
    if term == "auroc":
        if curve.auroc[0] is None:
            return "An empty chart: the AUROC is undefined without both normal and anomalous test images."
        return f"AUROC {where}: {wording.auroc(curve.auroc[0])} to {wording.auroc(curve.auroc[-1])}."
    if term == "effective_rank":
        return f"Effective rank of the training features {where}: {_pair(curve.effective_rank)}."
    if term == "distances":
        return f"Mean squared distance of the training features to the center {where}: {_pair(curve.spread)}."
    return (
        f"Distances of test images divided by that of training images {where}: "
        f"anomalous {_pair(curve.anomalous_ratio)}, normal {_pair(curve.normal_ratio)}."
    )


def _pair(values: tuple[float | None, ...]) -> str:
    return f"{wording.amount(values[0])} to {wording.amount(values[-1])}"
