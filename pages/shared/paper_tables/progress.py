"""A grid while it is computed, and after: everything shown is read from its folder."""

from __future__ import annotations

import json

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.paper_tables.results import show_results
from panda_core.bench.folder import GridFolder
from panda_core.bench.summary import Results
from panda_core.errors import PandaError

LOOK_EVERY = 2.0  # seconds


def show_grid(folder: GridFolder) -> None:
    """Draw a grid; while it is computed, look at its folder again and again until it has ended."""
    computing = folder.state().state in ("queued", "running")
    st.fragment(_look, run_every=LOOK_EVERY if computing else None)(folder, computing)


def _look(folder: GridFolder, computing: bool) -> None:
    state = folder.state()
    if computing and state.state not in ("queued", "running"):
        st.rerun()  # the whole page, which no longer looks again
    try:
        plan = folder.plan()
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    icon, colour = wording.STATES.get(state.state, wording.STATES["interrupted"])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(wording.sentence(str(plan["title"])), width="content")
        st.badge(state.state, icon=icon, color=colour, help=tip("grid_state"))
    if plan.get("about"):
        st.caption(wording.sentence(str(plan["about"])))
    if computing:
        counted = folder.count(plan)
        now = counted.states.get("running", 0)
        bar, button = st.columns([5, 1], vertical_alignment="bottom")
        done = f"{counted.ended} of {wording.count(counted.total, 'run')} done, {now} being computed"
        bar.progress(counted.ended / max(counted.total, 1), text=done)
        stopping = folder.stop_requested()
        button.button(
            "Stopping" if stopping else "Stop",
            icon=":material/stop:",
            width="stretch",
            key="stop-grid",
            disabled=stopping,
            help=tip("stop_grid"),
            on_click=_stop,
            args=(folder,),
        )
    elif state.reason:
        st.warning(wording.sentence(state.reason), icon=":material/info:")
    results = _results(folder)
    if results is not None:
        show_results(folder, results)
    elif computing:
        st.caption("The first lines appear when their runs are done.")


def _results(folder: GridFolder) -> Results | None:
    """Return the table that was written last, or None while there is none; a damaged one is said to be."""
    path = folder.path / "results.json"
    try:
        modified = path.stat().st_mtime_ns
    except OSError:
        return None
    try:
        return _read(str(path), modified)
    except (PandaError, OSError, ValueError) as error:
        st.error(wording.sentence(f"The table of this grid cannot be read: {error}"), icon=":material/broken_image:")
        return None


@st.cache_data(max_entries=8, show_spinner=False)
def _read(path: str, modified: int) -> Results:
    with open(path, encoding="utf-8") as file:
        return Results.from_json(json.load(file))


def _stop(folder: GridFolder) -> None:
    try:
        folder.request_stop()
    except PandaError as error:
        st.toast(wording.sentence(str(error)), icon=":material/error:")
