"""The Inspect page: three ways to check photos, told by what somebody has."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.frame.router import NEW_CLASSES, OWN, SEGMENT

# What somebody has, what happens then, the page that does it, its query, and the words of the link.
WAYS: tuple[tuple[str, str, str, tuple[str, dict[str, str], str]], ...] = (
    (
        ":material/add_photo_alternate:",
        "Eight or more good photos",
        "The program learns what is normal from them, in seconds, and shows on new photos where they differ. Nothing "
        "leaves this machine.",
        (OWN, {}, "Drop photos"),
    ),
    (
        ":material/category:",
        "Only two to eight good photos",
        "Nothing is learned: a model that was trained on other things compares every place of a new photo with the "
        "same kind of place in yours.",
        (NEW_CLASSES, {}, "Compare with a few"),
    ),
    (
        ":material/center_focus_strong:",
        "A data set with defects",
        "Maps over each image show where the defect is, and measures tell how well defects are found.",
        (SEGMENT, {"segment": "start a run"}, "Start maps"),
    ),
)


def show() -> None:
    """Draw the page."""
    st.title("Check your photos")
    st.markdown("What do you have?")
    with st.grid(3, min_column_width=260):
        for icon, title, about, (page, query, label) in WAYS:
            with st.container(border=True, height="stretch"):
                st.subheader(f"{icon} {title}", anchor=False)
                st.markdown(about)
                st.space("stretch")
                st.page_link(
                    page,
                    label=label,
                    icon=":material/arrow_forward:",
                    icon_position="right",
                    query_params=query,
                    help=tip("way"),
                )
    with st.container(horizontal=True):
        st.page_link(
            SEGMENT,
            label="No photos at hand? Look at recorded maps of solar cells",
            icon=":material/solar_power:",
            query_params={"run": "segment-elpv-mono"},
            help=tip("way_recorded"),
        )
