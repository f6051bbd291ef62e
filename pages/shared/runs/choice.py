"""Which run a page shows: the one in the URL, looked up by its exact id and in no other way; and which are listed.

A run that learned from an upload belongs to whoever dropped the images: it is listed to nobody else. Its id, or the
upload's, is the key: who has opened one of them by its address, or made it, sees all runs on these images listed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ASSETS
from panda_core.bench.folder import list_grids
from panda_core.config import default_cache_dir, default_runs_dir
from panda_core.errors import PandaError
from panda_core.runs.calibration import RATE
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.kinds import kind_of
from panda_core.runs.owner import upload_of
from panda_core.runs.recorded import unpacked

RECORDED = ASSETS / "recorded"  # an archive for each run that comes with the program
PARAMETER, UPLOAD = "run", "upload"  # query parameters
RACE = "duel"  # query parameter: ids of the runs of a race, with commas
OPENS = "opens"  # query parameter of the page that prepares links: a step of a lesson, a run
IMAGE = "image"  # query parameter: the index of the chosen image among those that a page shows
_KNOWN = "known_uploads"  # in the session: tokens of uploads whose runs may be listed to it


def find_run(run_id: str) -> RunFolder | None:
    """Return the run called `run_id` among the user's own, the recorded ones and those behind the paper tables."""
    parents = [Path(default_runs_dir()), recorded_runs(), *(grid.path for grid in list_grids(default_runs_dir()))]
    return next((folder for parent in parents if (folder := RunFolder.by_id(run_id, parent)) is not None), None)


def recorded_runs() -> Path:
    """Return the folder of the runs that come with the program: in the cache, or of this server alone.

    Who can write no cache can still look.
    """
    try:
        return unpacked(RECORDED, default_cache_dir())
    except PandaError:  # also that an archive is damaged, which is raised once more
        return unpacked(RECORDED, _temporary_cache())


@st.cache_resource(show_spinner=False)
def _temporary_cache() -> Path:
    """Return a new folder for this server, which the system removes in time."""
    return Path(tempfile.mkdtemp(prefix="panda-"))


def is_recorded(folder: RunFolder) -> bool:
    """Return whether a run came with the program; such a run is read, never changed."""
    return folder.path.parent == recorded_runs()


def all_runs() -> list[RunFolder]:
    """Return the runs that may be listed to this session, newest first, then the recorded ones."""
    known = _known_uploads()
    own = [folder for folder in list_runs(default_runs_dir()) if (_upload_of(folder) or "") in known | {""}]
    return [*own, *list_runs(recorded_runs())]


def _known_uploads() -> set[str]:
    """Return the tokens of the uploads that this session has come across, those of its address included."""
    token, run_id = (st.query_params.get(name, "") for name in (UPLOAD, PARAMETER))
    opened = find_run(run_id) if run_id else None
    now = {token, (_upload_of(opened) if opened is not None else None) or ""} - {""}
    st.session_state[_KNOWN] = known = st.session_state.get(_KNOWN, set()) | now
    return known


def _upload_of(folder: RunFolder) -> str | None:
    try:
        return upload_of(folder.config())
    except PandaError:  # the Runs page says what is wrong with it; it shows nothing of any image
        return None


def open_run(run_id: str) -> None:
    """Put a run's id into the URL."""
    st.query_params[PARAMETER] = run_id


def opened_run() -> RunFolder | None:
    """Return the run of the URL. A friendly sentence takes the place of one that is not there."""
    _known_uploads()
    run_id = st.query_params.get(PARAMETER, "")
    if not run_id:
        return None
    folder = find_run(run_id)
    if folder is None:
        st.warning(
            "There is no run with the id in this address. It may have been deleted, or its folder is elsewhere. "
            "The Runs page lists those that are here.",
            icon=":material/search_off:",
        )
    return folder


def choose_run(folders: dict[str, RunFolder], opened: RunFolder | None, key: str) -> RunFolder | None:
    """Draw the choice among `folders`, by run id, and return the chosen one; the URL's, `opened`, comes first."""
    if not folders:
        return None
    if opened is not None and opened.run_id in folders:
        st.session_state[key] = opened.run_id
    elif st.session_state.get(key) not in folders:
        st.session_state[key] = next(iter(folders))
    run_id = st.selectbox(
        "Run",
        list(folders),
        format_func=lambda run_id: label_of(folders[run_id]),
        key=key,
        help=tip("run"),
        on_change=_picked,
        args=(key,),
    )
    return folders[run_id]


def _picked(key: str) -> None:
    open_run(st.session_state[key])
    st.query_params.pop(IMAGE, None)


def choose_rate(column: DeltaGenerator, key: str, about: str) -> float:
    """Draw the slider of the false alarms that are allowed, and return their share; about: its tooltip."""
    percent = column.slider(
        "False alarms allowed, %", 1, 50, round(100 * RATE), key=key, help=about, bind="query-params"
    )
    return percent / 100


def chosen_image(count: int) -> int | None:
    """Return the image of the URL, one of `count`, or None: anything else there is passed over."""
    text = st.query_params.get(IMAGE, "")
    image = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
    return image if 0 <= image < count else None


def choose_image(image: int) -> None:
    """Put an image into the URL; for the buttons under images."""
    st.query_params[IMAGE] = str(image)


def has_maps(folder: RunFolder) -> bool:
    """Return whether a run looks for defects, instead of adapting a network; False for a broken one."""
    try:
        return kind_of(folder.config()).has_maps
    except PandaError:  # the Runs page says what is wrong with it
        return False


def label_of(folder: RunFolder) -> str:
    """Return a run as a line of a list: what it is and when it was made."""
    try:
        config = folder.config()
    except PandaError:
        return f"broken run, {wording.started(folder)}"
    if is_recorded(folder):
        return f"{wording.run_title(config)}, recorded example"
    return f"{wording.run_label(folder, config)}, {wording.started(folder)}"
