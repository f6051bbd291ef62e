"""Dropping images of one's own, and what was understood of them before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import TILE, sheet, square
from pages.shared.runs.choice import UPLOAD
from panda_core.datasets import FileImages, image_files
from panda_core.datasets.own.images import FEWEST, LONGEST, Source, Understood
from panda_core.datasets.own.layout import ANOMALOUS, BY_FOLDER, MASK
from panda_core.errors import PandaError, UnreadableImage
from panda_core.runs.uploads import Upload, delete_upload, keep_upload, lifetime, quota

MESSAGE = "own_message"
# No field filters by ending: what a file holds decides, and a refusal is then a sentence beside the others.
_SHOWN = 8  # pictures of each group
_LISTED = 50  # names
_FIELDS = (("own_images", BY_FOLDER), ("own_folder", BY_FOLDER), ("own_anomalies", ANOMALOUS), ("own_masks", MASK))


def show_drop() -> None:
    """Draw the fields to drop images on, and the button that has them read."""
    st.markdown(
        f"Drop {FEWEST} or more images of what is normal. What they are taken for is shown before anything is learned."
    )
    left, right = st.columns(2, gap="medium")
    left.file_uploader(
        "Images, or a zip or tar of them",
        accept_multiple_files=True,
        key="own_images",
        help=tip("own_images"),
    )
    right.file_uploader("A whole folder", accept_multiple_files="directory", key="own_folder", help=tip("own_folder"))
    with st.expander("Anomalies and masks, if you have some", icon=":material/add:"):
        st.caption(tip("own_optional"))
        left, right = st.columns(2, gap="medium")
        for column, label, key in ((left, "Anomalies", "own_anomalies"), (right, "Masks of anomalies", "own_masks")):
            column.file_uploader(
                label,
                accept_multiple_files=True,
                key=key,
                help=tip(key),
            )
    any_files = any(st.session_state.get(key) for key, _ in _FIELDS)
    clicked = st.button(
        "Look at them",
        icon=":material/visibility:",
        type="primary",
        key="own-read",
        disabled=not any_files,
        help=tip("own_read"),
    )
    st.caption(kept_for())
    if clicked:
        _read()


def kept_for() -> str:
    """Return where images stay and for how long, in words."""
    days = lifetime() / 86_400
    return (
        f"Images stay on the machine that runs this program, re-encoded as PNG with at most {LONGEST} pixels a side, "
        f"without names, places or cameras in the files. They are removed {days:g} days after they were last used, or "
        f"earlier where all uploads together take more than {quota() / 1e9:g} GB. Only this page's address leads to "
        "them: keep it, and give it to those alone who may see them."
    )


def _read() -> None:
    """Read what was dropped and go on with it."""
    sources: list[Source] = [(role, file.name, file) for key, role in _FIELDS for file in _files(key)]
    bar = st.progress(0.0, text="reading images")

    def tell(done: int) -> None:
        bar.progress(min(1.0, done / max(len(sources), done)), text=f"reading images: {done}")

    try:
        upload = keep_upload(sources, tell)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    finally:
        bar.empty()
    st.query_params[UPLOAD] = upload.token
    st.rerun()


def _files(key: str) -> list[Any]:
    return list(st.session_state.get(key) or [])


def show_understood(upload: Upload, *, folded: bool = False) -> None:
    """Draw what a drop was taken for: counts, sizes, pictures, and everything that was left out, with reasons."""
    understood = upload.understood
    if folded:
        with st.expander(_in_words(upload), icon=":material/photo_library:"):
            _details(upload)
        return
    st.subheader("What was understood")
    small, large = (f"{width} x {height}" for width, height in (understood.smallest, understood.largest))
    with st.grid(4, min_column_width=140, gap="small"):  # two by two on a phone
        for label, value, term in (
            ("Normal images", f"{understood.normals:,}", "own_normals"),
            ("Anomalies", f"{sum(understood.anomalies.values()):,}", "own_kinds"),
            ("Masks", f"{understood.masks:,}", "own_matched"),
        ):
            st.metric(label, value, help=tip(term), border=True, height="stretch")
        st.metric(
            "Pixels",
            small if understood.normals else wording.NONE,
            f"to {large}" if small != large else None,
            delta_color="off",
            delta_arrow="off",
            help=tip("own_sizes"),
            border=True,
            height="stretch",
        )
    _details(upload)


def _in_words(upload: Upload) -> str:
    understood = upload.understood
    facts = [f"Learned from {wording.count(understood.normals, 'normal image')}"]
    if understood.anomalies:
        facts.append(f"measured with {wording.count(sum(understood.anomalies.values()), 'anomalous one')}")
    if left_out := len(understood.refused) + len(understood.duplicates):
        facts.append(f"{left_out} left out")
    return "; ".join(facts)


def _details(upload: Upload) -> None:
    understood = upload.understood
    paths = [path for path in image_files(upload.images) if not path.startswith("ground_truth/")]
    normals = [path for path in paths if path.startswith("good/")]
    for words, group in (("Normal", normals), ("Anomalous", [path for path in paths if path not in normals])):
        if group:
            kinds = f": {wording.sentence(', '.join(understood.anomalies))}" if words == "Anomalous" else ""
            st.caption(f"{words}{kinds}")
            st.image(_pictures(upload, group), alt=f"{words} images as they were dropped")
    show_left_out(understood)
    with st.popover("Delete these images", icon=":material/delete:"):
        st.markdown("Removes them from this machine for good. A run that learned from them stays.")
        st.button("Delete", key="own-delete", help=tip("own_delete"), on_click=_delete, args=(upload.token,))


def show_left_out(understood: Understood) -> None:
    """List what of a drop takes no part, by its reason."""
    for title, reasons in (
        ("could not be read", [f"{name}: {reason}" for name, reason in understood.refused]),
        ("copied another image and was left out", understood.duplicates),
        ("in an archive was not named like an image", understood.left_out),
        ("is a mask without its anomaly", understood.loose_masks),
    ):
        if reasons:
            with st.expander(f"{wording.count(len(reasons), 'file')}: {title}", icon=":material/hide_image:"):
                for reason in reasons[:_LISTED]:
                    st.markdown(f"- {wording.sentence(reason)}")
                if len(reasons) > _LISTED:
                    st.caption(f"and {len(reasons) - _LISTED:,} more")


def _pictures(upload: Upload, paths: list[str]) -> np.ndarray:
    images = FileImages.below(upload.images, paths[:_SHOWN])
    tiles = []
    for row in range(len(images)):
        try:
            tiles.append(square(images.load(row), TILE))
        except UnreadableImage:  # removed meanwhile
            tiles.append(np.zeros((TILE, TILE, 4), np.uint8))
    return sheet(tiles)


def _delete(token: str) -> None:
    try:
        delete_upload(token)
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    st.query_params.pop(UPLOAD, None)
