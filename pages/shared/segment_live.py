"""A segmentation run while it computes: looked at again and again until it has ended."""

from __future__ import annotations

import streamlit as st

from pages.shared import wording
from pages.shared.live import LOOK_EVERY, show_heading, show_progress, show_skipped
from pages.shared.progress import progress_of_segmentation, waiting
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.queue import runs_ahead
from panda_core.runs.segment_settings import checkpoints_of
from panda_core.runs.store import ENDED, RunFolder


def show_computing(folder: RunFolder) -> None:
    """Draw the progress of a run that has not ended; when it has, draw the whole page again."""
    st.fragment(_look, run_every=LOOK_EVERY)(folder)


def _look(folder: RunFolder) -> None:
    state, run = folder.state(), LoadedRun(folder)
    if state.state in ENDED:
        st.rerun()  # the whole page, which then shows the maps
    try:
        show_heading(run.config, state)
        queued = state.state == "queued"
        progress = waiting(runs_ahead(folder)) if queued else progress_of_segmentation(run.events(), _networks(run))
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    show_progress(folder, progress)
    show_skipped(run)
    st.caption(
        "The normal images are read and cut into patches; a bank of patches is drawn from them; then every patch of "
        "the test images is compared with the bank. The maps appear here."
    )


def _networks(run: LoadedRun) -> int:
    try:
        return len(checkpoints_of(run.config))
    except PandaError:  # the adapted run is gone; how many there were is of no further use
        return 1
