"""Dropping photos of one's own: reading begins with the drop. And other ways in, for those who have none or few."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import NEW_CLASSES, SEGMENT
from pages.shared.own.sample import PARTS, sample_parts
from pages.shared.runs.choice import UPLOAD
from panda_core.datasets.own.images import FEWEST, LONGEST, Source, Understood
from panda_core.datasets.own.layout import ANOMALOUS, BY_FOLDER, MASK
from panda_core.errors import PandaError
from panda_core.runs.uploads import keep_upload, lifetime, quota

# No field filters by ending: what a file holds decides, and a refusal is then a sentence beside the others.
_LISTED = 50  # names
_FILES, _FOLDER = "Files or an archive", "A folder"
_MORE = (("own_anomalies", "Bad photos", ANOMALOUS), ("own_masks", "Masks of bad photos", MASK))


def show_drop() -> None:
    """Draw the field to drop photos on, and below it the other ways in."""
    st.markdown(f"Drop **{FEWEST} or more good photos**. Bad ones may be among them: you mark those in the next step.")
    told, zone, ways = st.container(), st.container(), st.container()  # as they are seen
    way = st.segmented_control(
        "What you drop", (_FILES, _FOLDER), default=_FILES, key="own_what", help=tip("own_folder"), required=True
    )
    key = "own_folder" if way == _FOLDER else "own_images"
    zone.file_uploader(
        "Your photos",
        accept_multiple_files="directory" if way == _FOLDER else True,
        key=key,
        help=tip("own_images"),
    )
    with st.expander("Bad photos or masks in files of their own? Add them first", icon=":material/add:"):
        st.caption(tip("own_optional"))
        for column, (more, label, _) in zip(st.columns(2, gap="medium"), _MORE, strict=True):
            column.file_uploader(label, accept_multiple_files=True, key=more, help=tip(more))
    st.caption(kept_for())
    with ways:
        sample = _ways()
    with told:
        if files := list(st.session_state.get(key) or []):
            others = [(role, file.name, file) for more, _, role in _MORE for file in st.session_state.get(more) or []]
            read([(BY_FOLDER, file.name, file) for file in files] + others)
        elif sample:
            try:
                read(sample_parts())
            except PandaError as error:  # the solar cells did not come with this installation
                st.error(wording.sentence(str(error)), icon=":material/error:")


def _ways() -> bool:
    """Draw what somebody without photos, or with a few, can do; return whether sample parts are asked for."""
    with st.container(horizontal=True, vertical_alignment="center", key="ways"):
        pressed = st.button(
            f"Try with {PARTS} sample parts",
            icon=":material/solar_power:",
            key="own-sample",
            help=tip("own_sample"),
        )
        st.page_link(
            SEGMENT,
            label="Paint a scratch on a part",
            icon=":material/brush:",
            query_params={"segment": "Paint a scratch", "run": "segment-elpv-mono"},
            help=tip("paint"),
        )
        st.page_link(
            NEW_CLASSES, label="Only two to eight good photos?", icon=":material/category:", help=tip("own_few")
        )
        st.page_link(
            SEGMENT,
            label="A data set with defects",
            icon=":material/dataset:",
            query_params={"segment": "Start a run"},
            help=tip("segment_section"),
        )
    return pressed


def kept_for() -> str:
    """Return where images stay and for how long, in words."""
    days = lifetime() / 86_400
    return (
        f"Photos stay on the machine that runs this program, with at most {LONGEST:,} pixels a side, without places or "
        f"cameras. They go {days:g} days after their last use, or earlier where all uploads take more than "
        f"{quota() / 1e9:g} GB. Only this page's address leads to them."
    )


def read(sources: list[Source]) -> None:
    """Read what was dropped and go on with it; say why not where that cannot be."""
    bar = st.progress(0.0, text="reading photos")

    def tell(done: int) -> None:
        bar.progress(min(1.0, done / max(len(sources), done)), text=f"reading photos: {done}")

    try:
        upload = keep_upload(sources, tell)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    finally:
        bar.empty()
    st.query_params[UPLOAD] = upload.token
    st.rerun()


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
