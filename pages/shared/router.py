"""The navigation, and a start for pages that are opened before it has ever run.

A folder named `pages` makes the server run a page's file directly, without `app.py`, until `st.navigation` has been
called once. Every page therefore begins with `start_page`, which then hands over to the navigation.
"""

from __future__ import annotations

import contextvars
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"
HOME, ADAPT, EXAMINE, SEGMENT, RUNS = (
    str(ROOT / "pages" / f"{name}.py") for name in ("home", "adapt", "examine", "segment", "runs")
)

_routed: contextvars.ContextVar[bool] = contextvars.ContextVar("routed", default=False)


def route() -> None:
    """Show the frame of every page and run the page that the address names."""
    st.set_page_config(page_title="PANDA", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="large", icon_image=str(ASSETS / "logo.svg"))
    page = st.navigation(
        [
            st.Page(
                HOME,
                title="Home",
                icon=":material/home:",
                url_path="home",
                default=True,
                help="What adapting is, as a film of one recorded run.",
            ),
            st.Page(
                ADAPT,
                title="Adapt",
                icon=":material/tune:",
                url_path="adapt",
                help="Choose normal images, adapt a network to them and watch the curves grow.",
            ),
            st.Page(
                EXAMINE,
                title="Examine",
                icon=":material/image_search:",
                url_path="examine",
                help="Scores and images of one run, and why an image got its score.",
            ),
            st.Page(
                SEGMENT,
                title="Segment",
                icon=":material/center_focus_strong:",
                url_path="segment",
                help="Where the defect is: a map over each image, and the normal patches behind it.",
            ),
            st.Page(
                RUNS,
                title="Runs",
                icon=":material/list:",
                url_path="runs",
                help="All runs: compare, rename, download, delete.",
            ),
        ],
        position="top",
    )
    token = _routed.set(True)
    try:
        page.run()
    finally:
        _routed.reset(token)


def start_page() -> None:
    """Return if the navigation runs this page; else run the navigation, which runs it again, and stop here."""
    if not _routed.get():
        route()
        st.stop()
