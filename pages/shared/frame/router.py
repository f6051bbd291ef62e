"""The navigation, and a start for pages that are opened before it has ever run.

A folder named `pages` makes the server run a page's file directly, without `app.py`, until `st.navigation` has been
called once. Every page therefore begins with `start_page`, which then hands over to the navigation.
"""

from __future__ import annotations

import contextlib
import contextvars
from pathlib import Path

import streamlit as st

from pages.shared.frame.teaching import take_address
from panda_core.errors import PandaError
from panda_core.runs.uploads import sweep

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "assets"
HOME, ADAPT, EXAMINE, SEGMENT, OWN, RUNS = (
    str(ROOT / "pages" / f"{name}.py") for name in ("home", "adapt", "examine", "segment", "own_images", "runs")
)
LESSONS, INSTRUMENT, DUEL, ELASTIC = (
    str(ROOT / "pages" / f"{name}.py") for name in ("lessons", "instrument", "duel", "elastic")
)
DATA = str(ROOT / "pages" / "data.py")
PAPER_TABLES = str(ROOT / "pages" / "paper_tables.py")
NEW_CLASSES = str(ROOT / "pages" / "new_classes.py")

_routed: contextvars.ContextVar[bool] = contextvars.ContextVar("routed", default=False)


def route() -> None:
    """Show the frame of every page and run the page that the address names."""
    st.set_page_config(page_title="PANDA", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="large", icon_image=str(ASSETS / "logo.svg"))
    page = st.navigation(
        {
            "": [
                st.Page(
                    HOME,
                    title="Home",
                    icon=":material/home:",
                    url_path="home",
                    default=True,
                    help="What adapting is, as a film of one recorded run.",
                ),
            ],
            "Learn": [
                st.Page(
                    LESSONS,
                    title="Lessons",
                    icon=":material/school:",
                    url_path="lessons",
                    help="Four short lessons: what a one-class problem is, and how adapting fails and is saved.",
                ),
                st.Page(
                    INSTRUMENT,
                    title="Time machine",
                    icon=":material/history:",
                    url_path="instrument",
                    help="Any run under one scrubber.",
                ),
                st.Page(
                    ELASTIC,
                    title="Elastic weights",
                    icon=":material/anchor:",
                    url_path="elastic",
                    help="Which layers elastic weights hold, and how firmly.",
                ),
            ],
            "Try": [
                st.Page(
                    ADAPT,
                    title="Adapt",
                    icon=":material/tune:",
                    url_path="adapt",
                    help="Choose normal images, adapt a network to them and watch the curves grow.",
                ),
                st.Page(
                    DUEL,
                    title="Duel",
                    icon=":material/compare_arrows:",
                    url_path="duel",
                    help="Up to four recipes from the same start, side by side.",
                ),
                st.Page(
                    SEGMENT,
                    title="Segment",
                    icon=":material/center_focus_strong:",
                    url_path="segment",
                    help="Where the defect is: a map over each image, and the normal patches behind it.",
                ),
                st.Page(
                    OWN,
                    title="Own images",
                    icon=":material/add_photo_alternate:",
                    url_path="own_images",
                    help="Drop images of your own, learn what is normal, and score new ones.",
                ),
                st.Page(
                    NEW_CLASSES,
                    title="New classes",
                    icon=":material/category:",
                    url_path="new_classes",
                    help="A class it was never trained on, judged beside a few normal references.",
                ),
            ],
            "Look": [
                st.Page(
                    EXAMINE,
                    title="Examine",
                    icon=":material/image_search:",
                    url_path="examine",
                    help="Scores and images of one run, and why an image got its score.",
                ),
                st.Page(
                    RUNS,
                    title="Runs",
                    icon=":material/list:",
                    url_path="runs",
                    help="All runs: compare, rename, download, delete.",
                ),
                st.Page(
                    PAPER_TABLES,
                    title="Paper tables",
                    icon=":material/table_chart:",
                    url_path="paper_tables",
                    help="All recipes in one table, beside the published figures.",
                ),
                st.Page(
                    DATA,
                    title="Data",
                    icon=":material/photo_library:",
                    url_path="data",
                    help="What each data set holds, its licence, some of its images, and a health check.",
                ),
            ],
        },
        position="top",
    )
    st.html(Path(__file__).with_name("look.css"))
    take_address()
    _sweep_uploads()
    token = _routed.set(True)
    try:
        page.run()
    finally:
        _routed.reset(token)


@st.cache_resource(ttl=3600, show_spinner=False)
def _sweep_uploads() -> None:
    """Remove what people uploaded and nobody needs any more: when the app starts, and every hour it is in use."""
    with contextlib.suppress(PandaError):  # a wrong setting is said where somebody uploads
        sweep()


def start_page() -> None:
    """Return if the navigation runs this page; else run the navigation, which runs it again, and stop here."""
    if not _routed.get():
        route()
        st.stop()
