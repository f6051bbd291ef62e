"""A part of a page that runs in the browser: declared from its files, once for all visits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st


def component(
    name: str, html: Path, *, css: Sequence[Path] | None = None, scripts: Sequence[Path] | None = None
) -> Callable[..., Any]:
    """Return the component called `name`, to be drawn by a call.

    css, scripts: where they are not those beside `html`. Several become one: what others use comes first.
    """
    return st.components.v2.component(
        name,
        html=html.read_text(encoding="utf-8"),
        css=_joined(css or [html.with_suffix(".css")]),
        js=_joined(scripts or [html.with_suffix(".js")]),
    )


def board(name: str, html: Path) -> Callable[..., Any]:
    """Return the component called `name`, a board to draw on: its style and script come after those of all boards."""
    shared = Path(__file__).with_name("board")
    css, scripts = ([shared.with_suffix(end), html.with_suffix(end)] for end in (".css", ".js"))
    return component(name, html, css=css, scripts=scripts)


def _joined(files: Sequence[Path]) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
