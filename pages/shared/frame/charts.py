"""Charts on a page: the figure, and a description for those who cannot see it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.shared.frame.teaching import TYPE, is_large

USUAL = 16  # pixels of the type of a page
PLAIN: dict[str, Any] = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


def show(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a figure across the width of its place; larger where a teacher has asked for large type."""
    if is_large():
        figure = enlarged(figure)
    st.plotly_chart(figure, width="stretch", key=key, config=PLAIN, alt=alt)


def enlarged(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure whose type and height have grown as the page's have."""
    large = go.Figure(figure)
    times = TYPE / USUAL
    margin = {side: times * (getattr(figure.layout.margin, side) or 0) for side in ("l", "r", "t", "b")}
    large.update_layout(height=times * (figure.layout.height or 450), margin=margin, font_size=0.85 * TYPE)
    for axes in (large.update_xaxes, large.update_yaxes):
        axes(tickfont_size=0.85 * TYPE, title_font_size=0.85 * TYPE)
    large.for_each_annotation(lambda note: note.update(font_size=0.85 * TYPE))
    return large
