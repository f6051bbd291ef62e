"""The film of one run: it grows while the run computes, and is the same film under the same scrubber afterwards."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, NEW_CLASSES, SEGMENT
from pages.shared.player.alarm import show_alarm
from pages.shared.player.layers import show_layers
from pages.shared.player.time_machine import show_time_machine, title_of
from pages.shared.player.time_machine_maps import offer_maps
from pages.shared.run.heading import show_heading
from pages.shared.run.results import show_results
from pages.shared.runs.choice import all_runs, choose_run, has_maps, opened_run
from pages.shared.runs.live import LOOK_EVERY, show_ending, show_progress, show_skipped
from pages.shared.runs.progress import progress_of, waiting
from panda_core.errors import PandaError
from panda_core.runs.folder import CHECKPOINTS, ENDED, RunFolder
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.run import runs_ahead

PICKED = "travelled_run"
WATCHED = "watched_run"  # in the session: the run that was seen computing, whose film then stands at its end


def show() -> None:
    """Draw the page."""
    folder = opened_run()
    if folder is None:
        folder = _chosen()
        if folder is None:
            return
    try:
        show_heading(folder)
        run = LoadedRun(folder)
        if run.kind.key != "adapt":
            _show_elsewhere(run)
            return
        computing = folder.state().state not in ENDED
        st.fragment(_look, run_every=LOOK_EVERY if computing else None)(folder, computing)
        if not computing and run.evaluated:
            _show_more(run)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _chosen() -> RunFolder | None:
    """Draw the choice among all runs with a film, for an address that names none."""
    folders = {folder.run_id: folder for folder in all_runs() if folder.split_file.is_file() and not has_maps(folder)}
    folder = choose_run(folders, None, PICKED)
    if folder is None:
        st.title("No run yet")
        st.info("There are no runs to look at yet. Start one, and watch it here.", icon=":material/info:")
        st.page_link(ADAPT, label="Adapt a network", icon=":material/tune:")
    return folder


def _show_elsewhere(run: LoadedRun) -> None:
    page = SEGMENT if run.has_maps else NEW_CLASSES
    st.info("This run adapts nothing, so it has no film: what it found is on another page.", icon=":material/info:")
    st.page_link(page, label="Open it", icon=":material/arrow_forward:", query_params={"run": run.run_id})


def _look(folder: RunFolder, computing: bool) -> None:
    """Draw how far a run is, and its film; look again while it computes."""
    state = folder.state()
    if computing and state.state in ENDED:
        st.rerun()  # the whole page, which no longer looks again
    run = LoadedRun(folder)
    try:
        if computing:
            st.session_state[WATCHED] = run.run_id
            steps = int(run.config.steps or 0)
            queued = state.state == "queued"
            show_progress(folder, waiting(runs_ahead(folder)) if queued else progress_of(run.events(), steps))
        else:
            show_ending(folder, state, finished=run.metrics is not None)
        show_skipped(run)
        if not run.evaluated:
            st.caption("The film begins with step 0, the unadapted network.")
            return
        last = run.evaluated[-1].step if st.session_state.get(WATCHED) == run.run_id else None
        show_time_machine(run, key=f"machine-{run.run_id}", plays=False, at=last)
        if run.metrics is not None:
            show_results(run)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _show_more(run: LoadedRun) -> None:
    """Draw what is told of a run that has ended, below its film."""
    st.caption(f"{title_of(run)}. {tip('time_machine')}")
    offer_maps(run)
    alarm = st.expander("How the alarm works", icon=":material/notifications:", on_change="rerun", key="alarm")
    if alarm.open:
        with alarm:
            show_alarm(run)
    more = st.expander("What moved in the network", icon=":material/layers:", on_change="rerun", key="layers")
    if more.open:
        with more:
            if (run.folder.path / CHECKPOINTS).is_dir() or run.folder.moved_file.is_file():
                show_layers(run.folder)
            else:
                st.caption("The weights of this recorded run were left out to save space.")
