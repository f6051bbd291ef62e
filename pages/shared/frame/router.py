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
from pages.shared.frame.wording import sentence
from panda_core.errors import PandaError
from panda_core.runs.uploads import sweep

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "assets"
# Section -> its pages: the name of the file and of the address, title, icon, and what it is for.
MENU: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "": (("home", "Home", "home", "What adapting is, as a film of one recorded run."),),
    "Learn": (
        (
            "lessons",
            "Lessons",
            "school",
            "Four short lessons: what a one-class problem is, and how adapting fails and is saved.",
        ),
        ("instrument", "Time machine", "history", "Any run under one scrubber."),
        ("elastic", "Elastic weights", "anchor", "Which layers elastic weights hold, and how firmly."),
    ),
    "Try": (
        ("adapt", "Adapt", "tune", "Choose normal images, adapt a network to them and watch the curves grow."),
        ("duel", "Duel", "compare_arrows", "Up to four recipes from the same start, side by side."),
        (
            "segment",
            "Segment",
            "center_focus_strong",
            "Where the defect is: a map over each image, and the normal patches behind it.",
        ),
        (
            "own_images",
            "Own images",
            "add_photo_alternate",
            "Drop images of your own, learn what is normal, and score new ones.",
        ),
        (
            "new_classes",
            "New classes",
            "category",
            "A class it was never trained on, judged beside a few normal references.",
        ),
    ),
    "Look": (
        (
            "examine",
            "Examine",
            "image_search",
            "Scores and images of one run, and why an image got its score.",
        ),
        ("runs", "Runs", "list", "All runs: compare, rename, download, delete."),
        ("paper_tables", "Paper tables", "table_chart", "All recipes in one table, beside the published figures."),
        (
            "data",
            "Data",
            "photo_library",
            "What each data set holds, its licence, some of its images, and a health check.",
        ),
    ),
}


def page_path(name: str) -> str:
    """Return the file of the page called `name`, for links to it."""
    return str(ROOT / "pages" / f"{name}.py")


ADAPT, EXAMINE, INSTRUMENT, LESSONS = (page_path(name) for name in ("adapt", "examine", "instrument", "lessons"))
OWN, SEGMENT = page_path("own_images"), page_path("segment")

_routed: contextvars.ContextVar[bool] = contextvars.ContextVar("routed", default=False)


def route() -> None:
    """Show the frame of every page and run the page that the address names."""
    st.set_page_config(page_title="PANDA", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="large", icon_image=str(ASSETS / "logo.svg"))
    pages = {
        section: [
            st.Page(
                page_path(name),
                title=title,
                icon=f":material/{icon}:",
                url_path=name,
                default=name == "home",
                help=about,
            )
            for name, title, icon, about in rows
        ]
        for section, rows in MENU.items()
    }
    page = st.navigation(pages, position="top")
    st.html(Path(__file__).with_name("look.css"))
    take_address()
    _sweep_uploads()
    token = _routed.set(True)
    try:
        page.run()
    except PandaError as error:  # what no page is prepared for: one sentence, and the next step, in place of a crash
        st.error(sentence(str(error)), icon=":material/broken_image:")
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
