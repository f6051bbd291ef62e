"""A run of any kind while it computes, and how it ended: read from its folder, at every look anew."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import is_recorded
from pages.shared.runs.progress import (
    Progress,
    progress_of,
    progress_of_generalisation,
    progress_of_segmentation,
    waiting,
)
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.runs.folder import ENDED, RunFolder, State
from panda_core.runs.launch import continue_run
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.run import runs_ahead
from panda_core.runs.segment.settings import checkpoints_of

LOOK_EVERY = 0.4  # seconds
FOLLOW_EVERY = 1.0  # seconds
_ADAPTING = (
    "The network is changed, step by step, until it sees your normal images alike; it stops before its features "
    "collapse. You may close this page and come back by its address."
)
_MAPPING = (
    "The normal images are read and cut into patches; a bank of patches is drawn from them; then every patch of the "
    "test images is compared with the bank. The maps appear here."
)
_TRAINING = (
    "The features of the seen classes are read once; then every step compares a few images with references drawn "
    "anew. You may close this page: the training goes on."
)


def follow_states(shown: Sequence[tuple[RunFolder, str]]) -> None:
    """Draw the whole page again once one of these runs is in another state than the one that the page says.

    What stands outside of a fragment is drawn once: a run that was queued when somebody came is else so for ever.
    """
    changing = [(folder, state) for folder, state in shown if state not in ENDED]
    if changing:
        st.fragment(_look_for_change, run_every=FOLLOW_EVERY)(changing)


def _look_for_change(shown: Sequence[tuple[RunFolder, str]]) -> None:
    if any(folder.state().state != state for folder, state in shown):
        st.rerun()


def show_computing(folder: RunFolder) -> None:
    """Draw the progress alone of a run that has not ended; when it has, draw the whole page again."""
    st.fragment(_look_until_ended, run_every=LOOK_EVERY)(folder)


def _look_until_ended(folder: RunFolder) -> None:
    state, run = folder.state(), LoadedRun(folder)
    if state.state in ENDED:
        st.rerun()  # the whole page, which then shows what came of it
    try:
        show_heading(run.config, state)
        progress = waiting(runs_ahead(folder)) if state.state == "queued" else _progress(run)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    show_progress(folder, progress)
    show_skipped(run)
    st.caption(_about(run))


def _progress(run: LoadedRun) -> Progress:
    """Return what a run of any kind is doing."""
    if run.kind.key == "few-shot":
        return progress_of_generalisation(run.events(), int(run.config.steps or 1))
    if run.kind.key == "adapt":
        return progress_of(run.events(), int(run.config.steps or 0))
    try:
        networks = len(checkpoints_of(run.config))
    except PandaError:  # the adapted run is gone; how many there were is of no further use
        networks = 1
    return progress_of_segmentation(run.events(), networks)


def _about(run: LoadedRun) -> str:
    return {"adapt": _ADAPTING, "segment": _MAPPING, "few-shot": _TRAINING}[run.kind.key]


def show_heading(config: RunConfig, state: State) -> None:
    """Draw what a run is and in which state."""
    icon, colour = wording.STATES[state.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(wording.sentence(wording.run_title(config)), width="content")
        st.badge(state.state, icon=icon, color=colour, help=tip("state"))


def show_skipped(run: LoadedRun) -> None:
    """List what was said of the data, and the files that took no part: images, masks, copies, with reasons."""
    for told in run.notes:
        st.info(told, icon=":material/info:")
    if run.skipped:
        with st.expander(f"{wording.count(len(run.skipped), 'file')} left out", icon=":material/hide_image:"):
            st.caption(tip("skipped"))
            for name, reason in run.skipped[:50]:
                st.markdown(f"- {wording.sentence(name)}: {wording.sentence(reason)}")


def show_progress(folder: RunFolder, progress: Progress) -> None:
    """Draw how far a computing run is, and the button that stops it."""
    seconds = progress.seconds_left
    left = "" if seconds is None or seconds < 1 else f", about {wording.duration(seconds)} left"
    bar, button = st.columns([5, 1], vertical_alignment="bottom")
    bar.progress(min(max(progress.fraction, 0.0), 1.0), text=progress.stage + left)
    if folder.stop_requested():
        button.button("Stopping", disabled=True, width="stretch", key="stopping", help=tip("stop"))
    else:
        button.button(
            "Stop",
            icon=":material/stop:",
            width="stretch",
            key="stop",
            help=tip("stop"),
            on_click=_stop,
            args=(folder,),
        )


def _stop(folder: RunFolder) -> None:
    try:
        folder.request_stop()
    except PandaError as error:
        st.toast(wording.sentence(str(error)), icon=":material/error:")


def show_ending(folder: RunFolder, state: State, *, finished: bool) -> None:
    """Say how the run ended, and offer to go on where that is possible."""
    reason = wording.sentence(state.reason)
    if state.state == "failed":
        st.error(reason, icon=":material/error:")
    elif state.state != "finished":
        st.warning(reason or "The run was stopped.", icon=":material/info:")
    can_go_on = state.state != "finished" and not finished and not is_recorded(folder)
    if can_go_on and st.button("Resume", icon=":material/resume:", key="resume", help=tip("resume")):
        try:
            continue_run(folder)
        except PandaError as error:
            st.error(wording.sentence(str(error)))
            return
        st.rerun()
