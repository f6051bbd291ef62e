"""The Paper tables page: any grid that was ever started, and a button that starts the quick one."""

from __future__ import annotations

import json

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.paper_tables.reported import show_reported
from pages.shared.paper_tables.results import show_results
from panda_core.bench.folder import PLAN, GridFolder, list_grids
from panda_core.bench.grid import load_grid
from panda_core.bench.launch import start_grid
from panda_core.bench.summary import Results
from panda_core.config import default_data_root, default_runs_dir
from panda_core.errors import PandaError

QUICK = "quick"
COMPUTING = ("queued", "running")
LOOK_EVERY = 2.0  # seconds
CHOSEN = "grid"  # query parameter: the grid that is shown


def show() -> None:
    """Draw the page."""
    st.title("Paper tables")
    grids = {folder.name: folder for folder in list_grids(default_runs_dir())}
    quick = GridFolder.below(default_runs_dir(), QUICK)
    offered = not (quick.path.is_dir() and quick.state().state in COMPUTING)
    if not offered:
        grids[QUICK] = quick  # as soon as it is asked for: its plan is written seconds later
    if message := st.session_state.pop("grid_error", ""):
        st.error(message, icon=":material/error:")
    if grids and (folder := _choose(grids)) is not None:
        _show_grid(folder)
    show_reported()
    left, right = st.columns(2, gap="large")
    left.markdown(
        "Your own tables hold every recipe under the same conditions, as a mean over normal classes and seeds, beside "
        "what the papers report. Each line says how it was measured; the papers used larger networks and all of the "
        "data. Start the quick one, or any other on the command line:"
    )
    left.code("python -m panda_core bench table1", language="bash")
    if offered:
        with right:
            _offer_quick(begun=QUICK in grids)


def _offer_quick(*, begun: bool) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown(f"**{wording.sentence(load_grid(QUICK).title)}**")
        st.caption(load_grid(QUICK).about)
        st.button(
            "Go on with the quick table" if begun else "Compute the quick table",
            icon=":material/play_arrow:",
            type="secondary" if begun else "primary",
            key="start-quick",
            help=tip("quick_grid"),
            on_click=_start,
        )


def _start() -> None:
    try:
        start_grid(QUICK, runs_dir=default_runs_dir(), data_root=default_data_root())
    except (PandaError, OSError) as error:
        st.session_state["grid_error"] = wording.sentence(str(error))
        return
    st.session_state["grid"] = QUICK
    st.query_params[CHOSEN] = QUICK


def _choose(grids: dict[str, GridFolder]) -> GridFolder | None:
    """Draw the choice of a grid; the one in the address comes first."""
    wanted = st.query_params.get(CHOSEN, "")
    if st.session_state.get("grid") not in grids:
        st.session_state["grid"] = wanted if wanted in grids else next(iter(grids))
    name = st.selectbox(
        "Table", list(grids), format_func=lambda name: _title(grids[name]), key="grid", help=tip("grid")
    )
    return grids.get(name)


def _title(folder: GridFolder) -> str:
    try:
        return f"{folder.plan()['title']} ({folder.name})"
    except PandaError:
        if folder.state().state in COMPUTING:
            return f"{folder.name} (starting)"
        return f"{folder.name} (cannot be read)"


def _show_grid(folder: GridFolder) -> None:
    """Draw a grid; while it is computed, look at its folder again and again until it has ended."""
    computing = folder.state().state in COMPUTING
    st.fragment(_look, run_every=LOOK_EVERY if computing else None)(folder, computing)


def _look(folder: GridFolder, computing: bool) -> None:
    state = folder.state()
    if computing and state.state not in COMPUTING:
        st.rerun()  # the whole page, which no longer looks again
    if computing and not (folder.path / PLAN).is_file():
        st.progress(0.0, text="starting: a process of its own loads the networks and lays out the runs")
        return
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
