"""Charts on a page: the figure, and a description for those who cannot see it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

PLAIN: dict[str, Any] = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


def show(figure: go.Figure, *, key: str, alt: str) -> None:
    """Draw a figure across the width of its place."""
    st.plotly_chart(figure, width="stretch", key=key, config=PLAIN, alt=alt)
