"""A part of a page that runs in the browser: declared from its files, once for all visits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st


def component(
    name: str, html: Path, *, css: Path | None = None, scripts: Sequence[Path] | None = None
) -> Callable[..., Any]:
    """Return the component called `name`, to be drawn by a call.

    css, scripts: where they are not those beside `html`. Several scripts become one: what others use comes first.
    """
    files = [html.with_suffix(".js")] if scripts is None else scripts
    return st.components.v2.component(
        name,
        html=html.read_text(encoding="utf-8"),
        css=(css or html.with_suffix(".css")).read_text(encoding="utf-8"),
        js="\n".join(file.read_text(encoding="utf-8") for file in files),
    )
