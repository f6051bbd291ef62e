"""New images for a finished detector: files, archives, a folder, or a picture from the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.own.drop import kept_for, show_left_out
from pages.shared.runs.choice import IMAGE
from panda_core.datasets.own.images import Source
from panda_core.datasets.own.layout import CHECKED
from panda_core.errors import PandaError
from panda_core.records import write_json
from panda_core.runs import launch as launching
from panda_core.runs.folder import RunFolder
from panda_core.runs.uploads import keep_upload

CHECK = "check"  # query parameter: which check of the run
PHOTOS = "photos.json"  # in the folder of a check: which upload was checked
FILES, FOLDER, CAMERA = "files or an archive", "a folder", "camera"


def show_score(folder: RunFolder) -> None:
    """Draw the fields for new images, and the button that has them scored."""
    st.subheader("Score new images")
    way = st.segmented_control(
        "From where", (FILES, FOLDER, CAMERA), default=FILES, key="own_way", help=tip("own_way"), required=True
    )
    dropped: Any
    if way == CAMERA:
        dropped = st.camera_input("A picture to score", key="own_camera", help=tip("own_camera"), width=420)
    else:
        dropped = st.file_uploader(
            "Images to score" if way == FILES else "A folder of images to score",
            accept_multiple_files=True if way == FILES else "directory",
            key=f"own_others_{way == FOLDER}",
            help=tip("own_others"),
        )
    files = [dropped] if way == CAMERA and dropped is not None else list(dropped or [])
    if st.button(
        "Score",
        icon=":material/fact_check:",
        type="primary",
        key="own-score",
        disabled=not files,
        help=tip("own_score"),
    ):
        _score(folder, files)
    st.caption(kept_for())


def _score(folder: RunFolder, files: list[Any]) -> None:
    """Keep the images and have a process look at them."""
    sources: list[Source] = [(CHECKED, file.name, file) for file in files]
    try:
        with st.spinner("Reading images"):
            upload = keep_upload(sources)
        if not upload.understood.checked:
            st.error("None of these files can be read as an image.", icon=":material/error:")
            show_left_out(upload.understood)
            return
        output = launching.check(folder, upload.images)
        write_json(output / PHOTOS, {"upload": upload.token})
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    st.query_params[CHECK] = output.name
    st.query_params.pop(IMAGE, None)
    st.rerun()


def output_of(folder: RunFolder, token: str) -> Path:
    """Return the folder of a check; its token must have been looked at by whoever calls this."""
    return folder.checks(token)
