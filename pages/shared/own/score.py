"""New photos for a finished detector: files, archives, a folder, or a picture from the camera. A drop starts it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.own.drop import kept_for, show_left_out
from pages.shared.own.steps import CHECK
from pages.shared.runs.choice import IMAGE
from panda_core.datasets.own.images import Source
from panda_core.datasets.own.layout import CHECKED
from panda_core.errors import PandaError
from panda_core.runs import launch as launching
from panda_core.runs.folder import RunFolder
from panda_core.runs.uploads import keep_upload, note_check

FILES, FOLDER, CAMERA = "Files or an archive", "A folder", "Camera"
_DROPS = "own_drops"  # in the session: how many drops were scored, so that the next field is empty


def show_score(folder: RunFolder) -> None:
    """Draw the field for new photos; what is dropped on it is scored at once. Beside verdicts it is folded away."""
    if CHECK in st.query_params:
        with st.expander("Score other photos", icon=":material/add_photo_alternate:"):
            _field(folder)
    else:
        with st.container(key="new-photos"):  # one large field: see look.css
            _field(folder)
        st.caption(kept_for())


def _field(folder: RunFolder) -> None:
    way = st.segmented_control(
        "From where",
        (FILES, FOLDER, CAMERA),
        default=FILES,
        key="own_way",
        help=tip("own_way"),
        required=True,
        wrap=True,
    )
    number = st.session_state.setdefault(_DROPS, 0)
    dropped: Any
    if way == CAMERA:
        dropped = st.camera_input("A photo to score", key=f"own_camera_{number}", help=tip("own_camera"), width=420)
    else:
        dropped = st.file_uploader(
            "Photos to score" if way == FILES else "A folder of photos to score",
            accept_multiple_files=True if way == FILES else "directory",
            key=f"own_others_{way == FOLDER}_{number}",
            help=tip("own_others"),
        )
    files = [dropped] if way == CAMERA and dropped is not None else list(dropped or [])
    if files:
        _score(folder, files)


def _score(folder: RunFolder, files: list[Any]) -> None:
    """Keep the photos and have a process look at them."""
    sources: list[Source] = [(CHECKED, file.name, file) for file in files]
    try:
        with st.spinner("Reading photos"):
            upload = keep_upload(sources)
        if not upload.understood.checked:
            st.error("None of these files can be read as an image.", icon=":material/error:")
            show_left_out(upload.understood)
            return
        output = launching.check(folder, upload.images)
        note_check(output, upload)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    st.session_state[_DROPS] += 1
    st.query_params[CHECK] = output.name
    st.query_params.pop(IMAGE, None)
    st.rerun()
