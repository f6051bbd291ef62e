"""The Home page: the idea in one sentence, a film of it, and four presets."""

from __future__ import annotations

import streamlit as st

from pages.shared.forms.presets import PRESETS, query_of
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, EXAMINE, INSTRUMENT, LESSONS
from pages.shared.frame.teaching import hidden_panels
from pages.shared.player.time_machine import show_time_machine, title_of
from pages.shared.runs.choice import recorded_runs
from panda_core.errors import PandaError
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun

FILM = "break-digits-9"  # the recorded run that is shown


def show() -> None:
    """Draw the page."""
    st.title("Adapt a network to what is normal, and see how far is too far")
    st.markdown(
        "A pretrained network is adapted to normal images alone: its features first get better at showing anomalies, "
        "then collapse until everything looks alike."
    )
    _film()
    if "presets" not in hidden_panels():
        _presets()
    st.caption(
        "PANDA: Reiss, Cohen, Bergman and Hoshen, “PANDA: Adapting Pretrained Features for Anomaly Detection and "
        "Segmentation”, CVPR 2021."
    )


def _presets() -> None:
    st.header("Try it: each takes about half a minute")
    with st.grid(4, min_column_width=220):
        for preset in PRESETS:
            with st.container(border=True, height="stretch"):
                st.markdown(f"{preset.icon} **{preset.title}**")
                st.markdown(preset.question)
                st.space("stretch")
                st.page_link(
                    ADAPT,
                    label="Set it up",
                    icon=":material/arrow_forward:",
                    icon_position="right",
                    query_params=query_of(preset),
                    help=tip("preset"),
                )


def _film() -> None:
    """Show the recorded run, which plays at once."""
    try:
        run = LoadedRun(RunFolder.open(FILM, recorded_runs()))
        show_time_machine(run, key="film", plays=True)
    except PandaError:
        st.info("The recorded run is missing from this copy of the program. Start one of your own below.")
        return
    st.caption(f"A recorded run. {title_of(run)}. AUROC: {tip('auroc_short')}")
    with st.container(horizontal=True):
        query = {"run": run.run_id}
        st.page_link(LESSONS, label="Four lessons about what you see", icon=":material/school:")
        st.page_link(INSTRUMENT, label="Other runs", icon=":material/history:", query_params=query)
        st.page_link(EXAMINE, label="Examine this run", icon=":material/image_search:", query_params=query)
