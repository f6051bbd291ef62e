"""The Time machine page: choose a run, and move through it."""

from __future__ import annotations

import streamlit as st

from pages.shared.forms.starting import show_as_code
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, EXAMINE
from pages.shared.player.alarm import show_alarm
from pages.shared.player.layers import show_layers
from pages.shared.player.time_machine import show_time_machine, title_of
from pages.shared.player.time_machine_maps import offer_maps
from pages.shared.runs.choice import all_runs, choose_run, has_maps, opened_run
from pages.shared.runs.downloads import zipped
from panda_core.errors import PandaError
from panda_core.runs.folder import CHECKPOINTS, RunFolder
from panda_core.runs.loaded import LoadedRun

PICKED = "travelled_run"


def show() -> None:
    """Draw the page."""
    st.title("Time machine")
    st.markdown(
        "One scrubber moves everything: the cloud of features, the curves, the scores, the order of the same twelve "
        "images, and the directions that the features still use."
    )
    folder = choose_run({folder.run_id: folder for folder in all_runs() if _has_arrays(folder)}, opened_run(), PICKED)
    if folder is None:
        st.info("There are no runs to look at yet. Start one, and travel through it here.", icon=":material/info:")
        st.page_link(ADAPT, label="Adapt a network", icon=":material/tune:")
        return
    run = LoadedRun(folder)
    try:
        if not run.evaluated:
            st.info("Nothing has been measured yet: wait for step 0.", icon=":material/hourglass_empty:")
            return
        show_time_machine(run, key=f"machine-{run.run_id}", plays=False)
        st.caption(f"{title_of(run)}. {tip('time_machine')}")
        share(run)
        offer_maps(run)
        alarm = st.expander("How the alarm works", icon=":material/notifications:", on_change="rerun", key="alarm")
        if alarm.open:
            with alarm:
                show_alarm(run)
        more = st.expander("What moved in the network", icon=":material/layers:", on_change="rerun", key="layers")
        if more.open:
            with more:
                if (run.folder.path / CHECKPOINTS).is_dir() or run.folder.moved_file.is_file():
                    show_layers(folder)
                else:
                    st.caption("The weights of this recorded run were left out to save space.")
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def share(run: LoadedRun) -> None:
    """Draw what takes a run elsewhere: another page, a command, Python, a file."""
    with st.container(horizontal=True, vertical_alignment="center"):
        query = {"run": run.run_id}
        st.page_link(EXAMINE, label="Examine images", icon=":material/image_search:", query_params=query)
        with st.popover("Copy as command or Python", icon=":material/terminal:", help=tip("copy_command")):
            show_as_code(run.config)
        st.download_button(
            "Download run",
            data=lambda: zipped(run.folder),
            file_name=f"{run.run_id}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            key=f"download-{run.run_id}",
            help=tip("download"),
        )
        with st.popover("Share", icon=":material/link:", help=tip("share")):
            st.markdown(
                "The address of this page names the run and the step: copy it from the browser. For a class, add "
                "`&large=yes` for large type, `&hide=ranking,spectrum` to leave panels out, `&lock=all` to lock the "
                "settings, and `&embed=true&embed_options=light_theme` for a projector."
            )


def _has_arrays(folder: RunFolder) -> bool:
    return folder.split_file.is_file() and not has_maps(folder)
