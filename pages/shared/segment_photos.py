"""Photos of one's own: some that are normal, to learn from, and others to be checked."""

from __future__ import annotations

import streamlit as st

from pages.shared import wording
from pages.shared.glossary import tip
from pages.shared.run_choice import label_of, open_run, opened_run
from pages.shared.segment_checks import CHECK, PHOTOS, show_check
from pages.shared.segment_start import launch
from pages.shared.uploads import LONGEST, MOST, Kept, keep, uploads_folder
from panda_core.config import RunConfig
from panda_core.datasets import IMAGE_SUFFIXES
from panda_core.datasets.folder import PREFIX as FOLDER
from panda_core.errors import PandaError
from panda_core.records import write_json
from panda_core.runs import launch as launching
from panda_core.runs.store import RunFolder

FEWEST = 5  # normal photos: some are held out to set the threshold, some to be looked at
NORMALS, OTHERS = "segment_normals", "segment_others"
REFUSED = "segment_refused"
_ENDINGS = [ending.removeprefix(".") for ending in IMAGE_SUFFIXES]


def show_photos(folders: dict[str, RunFolder]) -> None:
    """Draw both steps, and what a check found; folders: the segmentation runs by id."""
    launching.keep_ready()  # while people choose photos, a process imports what a run needs
    first, second = st.columns(2, gap="medium")
    with first.container(border=True, height="stretch"):
        _teach()
    with second.container(border=True, height="stretch"):
        _check(folders)
    show_refused()
    st.caption(
        f"Photos stay on the machine that runs this program, re-encoded as PNG with at most {LONGEST} pixels a side, "
        f"each drop in a folder of its own. To delete them, delete that folder below:",
    )
    st.code(str(uploads_folder()), language=None)
    token = st.query_params.get(CHECK, "")
    folder = opened_run() if token else None
    if folder is not None:
        show_check(folder, token)


def show_refused() -> None:
    """Name the photos of the last drop that cannot be read."""
    for name, reason in st.session_state.get(REFUSED, []):
        st.warning(f"{wording.sentence(name)} was left out. {wording.sentence(reason)}", icon=":material/hide_image:")


def _teach() -> None:
    st.markdown("**1. Show what is normal**")
    files = st.file_uploader(
        f"Photos of normal things, {FEWEST} or more",
        type=_ENDINGS,
        accept_multiple_files=True,
        key=NORMALS,
        help=tip("normal_photos"),
    )
    count = len(files or [])
    if 0 < count < FEWEST:
        st.caption(f"{wording.count(count, 'photo')} so far; {FEWEST - count} more to begin.")
    st.button(
        "Learn what is normal",
        icon=":material/school:",
        type="primary",
        key="segment-teach",
        disabled=count < FEWEST,
        help=tip("segment_teach"),
        on_click=_learn,
    )


def _learn() -> None:
    """Keep the normal photos and start a run on them; for the button."""
    kept = _kept(NORMALS, "good")
    if kept is None:
        return
    if kept.count < FEWEST:
        st.session_state["segment_message"] = f"Only {kept.count} of these photos can be read; {FEWEST} are needed."
        return
    launch(RunConfig(recipe="patchcore", dataset=f"{FOLDER}{kept.folder}", name=f"My {kept.count} normal photos"))


def _check(folders: dict[str, RunFolder]) -> None:
    st.markdown("**2. Check others**")
    ready = {run_id: folder for run_id, folder in folders.items() if _can_check(folder)}
    if not ready:
        st.caption("This needs a finished run: show what is normal first, or start a run on any data set.")
        return
    opened = st.query_params.get("run", "")
    if opened in ready and "segment_checker" not in st.session_state:
        st.session_state["segment_checker"] = opened
    run_id = st.selectbox(
        "With this run",
        list(ready),
        format_func=lambda run_id: label_of(ready[run_id]),
        key="segment_checker",
        help=tip("segment_checker"),
    )
    files = st.file_uploader(
        "Photos to check", type=_ENDINGS, accept_multiple_files=True, key=OTHERS, help=tip("other_photos")
    )
    st.button(
        "Check",
        icon=":material/fact_check:",
        type="primary",
        key="segment-check",
        disabled=not files,
        help=tip("segment_check"),
        on_click=_start_check,
        args=(ready[run_id],),
    )


def _start_check(folder: RunFolder) -> None:
    """Keep the photos and have a process compare them; for the button."""
    kept = _kept(OTHERS, "check")
    if kept is None:
        return
    if not kept.count:
        st.session_state["segment_message"] = "None of these photos can be read."
        return
    try:
        output = launching.check(folder, kept.folder)
        write_json(output / PHOTOS, {"folder": str(kept.folder.resolve())})
    except (PandaError, OSError) as error:
        st.session_state["segment_message"] = str(error)
        return
    open_run(folder.run_id)
    st.query_params[CHECK] = output.name
    st.query_params.pop("image", None)


def _kept(key: str, kind: str) -> Kept | None:
    files = st.session_state.get(key) or []
    st.session_state[REFUSED] = []
    if len(files) > MOST:
        st.session_state["segment_message"] = f"At most {MOST} photos at once; got {len(files)}. Drop fewer."
        return None
    try:
        kept = keep(files, kind)
    except PandaError as error:
        st.session_state["segment_message"] = str(error)
        return None
    st.session_state[REFUSED] = kept.refused
    return kept


def _can_check(folder: RunFolder) -> bool:
    """Return whether a run is finished and kept its bank of normal patches; a recorded one did not."""
    return folder.state().state == "finished" and (folder.path / "banks").is_dir()
