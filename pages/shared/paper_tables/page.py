"""The Paper tables page: any grid that was ever started, and a button that starts the quick one."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.paper_tables.progress import show_grid
from panda_core.bench.folder import GridFolder, list_grids
from panda_core.bench.grid import load_grid
from panda_core.bench.launch import start_grid
from panda_core.config import default_data_root, default_runs_dir
from panda_core.errors import PandaError

QUICK = "quick"
CHOSEN = "grid"  # query parameter: the grid that is shown


def show() -> None:
    """Draw the page."""
    st.title("Paper tables")
    st.markdown(
        "Every recipe under the same conditions, as a mean over normal classes and seeds, beside what the papers "
        "report. Each line says how it was measured; the papers used larger networks and all of the data."
    )
    grids = {folder.name: folder for folder in list_grids(default_runs_dir())}
    quick = grids.get(QUICK)
    if quick is None or quick.state().state not in ("queued", "running"):
        _offer_quick(begun=quick is not None)
    if message := st.session_state.pop("grid_error", ""):
        st.error(message, icon=":material/error:")
    if not grids:
        st.info(
            "No table has been computed yet. Start the quick one here, or any other on the command line.",
            icon=":material/info:",
        )
        st.code("python -m panda_core bench table1", language="bash")
        return
    folder = _choose(grids)
    if folder is not None:
        show_grid(folder)


def _offer_quick(*, begun: bool) -> None:
    with st.container(border=True):
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
        return f"{folder.name} (cannot be read)"
