"""A run that generalises while it is trained: looked at again and again until it has ended."""

from __future__ import annotations

import streamlit as st

from pages.shared import wording
from pages.shared.live import LOOK_EVERY, show_heading, show_progress, show_skipped
from pages.shared.progress import progress_of_generalisation, waiting
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.queue import runs_ahead
from panda_core.runs.store import ENDED, RunFolder


def show_training(folder: RunFolder) -> None:
    """Draw the progress of a run that has not ended; when it has, draw the whole page again."""
    st.fragment(_look, run_every=LOOK_EVERY)(folder)


def _look(folder: RunFolder) -> None:
    state, run = folder.state(), LoadedRun(folder)
    if state.state in ENDED:
        st.rerun()
    try:
        show_heading(run.config, state)
        steps = int(run.config.steps or 1)
        queued = state.state == "queued"
        progress = waiting(runs_ahead(folder)) if queued else progress_of_generalisation(run.events(), steps)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    show_progress(folder, progress)
    show_skipped(run)
    st.caption(
        "The features of the seen classes are read once; then every step compares a few images with references drawn "
        "anew. You may close this page: the training goes on."
    )
