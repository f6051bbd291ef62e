"""Figures in a row: each a name, a value and, where there is one, a note on it."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

Figure = tuple[str, str, str, str]  # name, value, note or "", what it means


def show_figures(figures: Iterable[Figure]) -> None:
    """Draw figures beside one another, each as wide as it is."""
    with st.container(horizontal=True, gap="medium"):
        for name, value, note, about in figures:
            st.metric(name, value, note or None, delta_color="off", delta_arrow="off", help=about, width="content")
