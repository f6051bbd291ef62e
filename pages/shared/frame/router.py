"""The navigation, and a start for pages that are opened before it has ever run.

Five doors; behind each are its pages, which a row of links on every one of them names. The first is the door's own.

A folder named `pages` makes the server run a page's file directly, without `app.py`, until `st.navigation` has been
called once. Every page therefore begins with `start_page`, which then hands over to the navigation.
"""

from __future__ import annotations

import contextlib
import contextvars
from pathlib import Path

import streamlit as st

from pages.shared.frame.garbage import leave_modules_alone
from pages.shared.frame.teaching import take_address
from pages.shared.frame.wording import sentence
from panda_core.config import default_runs_dir
from panda_core.errors import PandaError
from panda_core.runs.deleted import remove_deleted
from panda_core.runs.uploads import sweep

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "assets"
Row = tuple[str, str, str, str]
# Door -> its icon and its pages: the name of the file and of the address, title, icon, and what it is for.
DOORS: dict[str, tuple[str, tuple[Row, ...]]] = {
    "Watch": (
        "play_circle",
        (
            ("home", "One run", "movie", "What adapting does, as a film of one recorded run."),
            ("duel", "Race", "compare_arrows", "Up to four recipes from the same start, under one scrubber."),
            ("elastic", "Strength", "anchor", "Which layers elastic weights hold, and how firmly."),
        ),
    ),
    "Learn": (
        "school",
        (
            (
                "lessons",
                "Lessons",
                "school",
                "Five short lessons: what a one-class problem is, how adapting fails and is saved, and what it learns.",
            ),
            ("glossary", "Glossary", "menu_book", "The words of this program, each with one meaning."),
            ("links", "Links for a class", "link", "Prepare an address: what it opens, hides, locks and enlarges."),
        ),
    ),
    "Inspect": (
        "fact_check",
        (
            (
                "own_images",
                "Your photos",
                "add_photo_alternate",
                "Drop photos of your own, learn what is normal, and check new ones.",
            ),
            (
                "new_classes",
                "Two to eight good photos",
                "category",
                "Photos of a new kind, judged beside a few normal references. Nothing is learned.",
            ),
            (
                "segment",
                "Maps of defects",
                "center_focus_strong",
                "Where the defect is: a map over each image, and the normal patches behind it.",
            ),
        ),
    ),
    "Lab": (
        "science",
        (
            ("adapt", "Adapt", "tune", "Choose normal images, adapt a network to them, and race recipes."),
            (
                "data",
                "Data",
                "photo_library",
                "What each data set holds, its licence, some of its images, and a health check.",
            ),
        ),
    ),
    "Runs": (
        "list",
        (
            ("runs", "All runs", "list", "All runs: open, compare, rename, download, delete."),
            ("paper_tables", "Paper tables", "table_chart", "All recipes in one table, beside the published figures."),
        ),
    ),
}
# The views of one run, which belong to the last door; the run's own row of links names them.
VIEWS: tuple[Row, ...] = (
    ("instrument", "Film", "movie", "One run under one scrubber, while it computes and afterwards."),
    ("examine", "Images", "image_search", "Scores and images of one run, and why an image got its score."),
    ("settings", "Settings", "tune", "Everything that was set for one run, and the same run as code."),
)


def page_path(name: str) -> str:
    """Return the file of the page called `name`, for links to it."""
    return str(ROOT / "pages" / f"{name}.py")


ADAPT, EXAMINE, INSTRUMENT, LESSONS = (page_path(name) for name in ("adapt", "examine", "instrument", "lessons"))
HOME, DUEL, RUNS, SETTINGS = (page_path(name) for name in ("home", "duel", "runs", "settings"))
LINKS = page_path("links")
OWN, SEGMENT, NEW_CLASSES = (page_path(name) for name in ("own_images", "segment", "new_classes"))

_MENU = st.components.v2.component("panda_menu", js=Path(__file__).with_name("menu.js").read_text(encoding="utf-8"))
_routed: contextvars.ContextVar[bool] = contextvars.ContextVar("routed", default=False)


def route() -> None:
    """Show the frame of every page and run the page that the address names."""
    st.set_page_config(page_title="PANDA", page_icon=str(ASSETS / "icon.svg"), layout="wide")
    framed = not st.context.is_embedded  # a projector's link asks for the page alone
    if framed:
        st.logo(str(ASSETS / "logo.svg"), size="large", icon_image=str(ASSETS / "logo.svg"))
    else:
        st.html("<style>.stMainBlockContainer { padding: 1rem 2rem; } .stAppHeader { display: none; }</style>")
    doors = [
        st.Page(
            page_path(rows[0][0]),
            title=door,
            icon=f":material/{icon}:",
            url_path=rows[0][0],
            default=rows[0][0] == "home",
            help=rows[0][3],
        )
        for door, (icon, rows) in DOORS.items()
    ]
    behind = [row for _, rows in DOORS.values() for row in rows[1:]] + list(VIEWS)
    rooms = [
        st.Page(page_path(name), title=title, icon=f":material/{icon}:", url_path=name, help=about, visibility="hidden")
        for name, title, icon, about in behind
    ]
    page = st.navigation([*doors, *rooms], position="top" if framed else "hidden")
    name = page.url_path or "home"
    viewed = "run" in st.query_params and name == "segment"  # then a view of that run, as the film is
    door = "Runs" if viewed else door_of(name)
    st.html(Path(__file__).with_name("look.css"))
    _mark(door)
    if framed:
        _MENU(key="menu", data={"page": name})
    take_address()
    _sweep_uploads()
    token = _routed.set(True)
    try:
        if framed and not viewed:
            _show_rooms(door, name)
        page.run()
    except PandaError as error:  # what no page is prepared for: one sentence, and the next step, in place of a crash
        st.error(sentence(str(error)), icon=":material/broken_image:")
    finally:
        _routed.reset(token)
        leave_modules_alone()


def door_of(name: str) -> str:
    """Return the door behind which the page called `name` lies."""
    return next((door for door, (_, rows) in DOORS.items() if any(row[0] == name for row in rows)), "Runs")


def _mark(door: str) -> None:
    """Have the navigation mark the door of this page: it knows only of the page that a door opens."""
    entry = DOORS[door][1][0][0]
    address = "" if entry == "home" else entry
    st.html(
        f'<style>[data-testid="stTopNavLink"][href$="/{address}"] {{ background: var(--st-secondary-background-color); '
        "font-weight: 650; }</style>"
    )


def _show_rooms(door: str, name: str) -> None:
    """Draw the row of links to the pages behind a door; a view of one run has a row of its own."""
    _, rows = DOORS[door]
    if len(rows) < 2 or name in {view for view, *_ in VIEWS}:
        return
    with st.container(horizontal=True, gap="small", key="rooms"):
        for other, title, icon, about in rows:
            st.page_link(page_path(other), label=title, icon=f":material/{icon}:", help=about)


@st.cache_resource(ttl=3600, show_spinner=False)
def _sweep_uploads() -> None:
    """Remove what people deleted, or uploaded and nobody needs any more: at the start, and every hour of use."""
    remove_deleted(default_runs_dir())  # also those of a server that ended before it could
    with contextlib.suppress(PandaError):  # a wrong setting is said where somebody uploads
        sweep()


def start_page() -> None:
    """Return if the navigation runs this page; else run the navigation, which runs it again, and stop here."""
    if not _routed.get():
        route()
        st.stop()
