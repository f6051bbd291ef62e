"""A toy for the first lesson: ten normal points and an odd one, and a pull that draws all of them together."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_TOY = st.components.v2.component(
    "panda_toy",
    html=(_HERE / "toy.html").read_text(encoding="utf-8"),
    css=(_HERE / "toy.css").read_text(encoding="utf-8"),
    js=(_HERE / "toy.js").read_text(encoding="utf-8"),
)


def show_toy(key: str) -> None:
    """Draw the toy. It runs in the browser alone."""
    _TOY(key=key)
