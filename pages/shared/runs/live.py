"""A run while it computes, and after: everything shown is read from its folder, at every look anew."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.frame import wording
from pages.shared.frame.charts import four_curves
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import EXAMINE, INSTRUMENT, SEGMENT
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
from panda_core.figures import Curve, curve_of
from panda_core.runs.folder import ENDED, RunFolder, State
from panda_core.runs.launch import continue_run
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.run import runs_ahead
from panda_core.runs.segment.settings import checkpoints_of

LOOK_EVERY = 0.4  # seconds
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


def show_run(folder: RunFolder) -> None:
    """Draw a run; while it computes, look at its folder again and again until it has ended."""
    computing = folder.state().state not in ENDED
    st.fragment(_look, run_every=LOOK_EVERY if computing else None)(folder, computing)


def _look(folder: RunFolder, computing: bool) -> None:
    state = folder.state()
    if computing and state.state in ENDED:
        st.rerun()  # the whole page, which no longer looks again
    run = LoadedRun(folder)
    try:
        config, events, evaluated, metrics = run.config, run.events(), run.evaluated, run.metrics
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    show_heading(config, state)
    if run.has_maps:
        st.info("This run looks for defects and adapts nothing: its maps are on another page.", icon=":material/info:")
        query = {"run": folder.run_id}
        st.page_link(SEGMENT, label="Open it", icon=":material/center_focus_strong:", query_params=query)
        return
    if state.state in ENDED:
        show_ending(folder, state, finished=metrics is not None)
    else:
        if state.state == "queued":
            progress = waiting(runs_ahead(folder))
        else:
            progress = progress_of(events, int(config.steps or 0))
        show_progress(folder, progress)
    show_skipped(run)
    curve = curve_of(evaluated, last_step=config.steps, metrics=metrics)
    if metrics is not None:
        _results(run, curve)
    if not evaluated:
        if state.state not in ENDED:
            st.caption("The curves start with step 0, the unadapted network.")
            four_curves(curve, folder.run_id)  # empty: the axes stand, and the browser has the charts ready
        return
    if curve.auroc[0] is None:
        st.caption("The test set lacks normal images or anomalies, so there is no AUROC; the other curves need none.")
    four_curves(curve, folder.run_id)
    fisher = run.environment.get("fisher")
    if fisher:
        st.caption(f"What the weights are worth: {wording.sentence(str(fisher))}.", help=tip("fisher_images"))
    if state.state in ENDED and len(curve.steps) > 1:
        st.page_link(
            INSTRUMENT,
            label="Travel through this run",
            icon=":material/history:",
            query_params={"run": folder.run_id},
        )


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
    left = "" if progress.seconds_left is None else f", about {wording.duration(progress.seconds_left)} left"
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


UNCHANGED = "unchanged by adapting"


def _change(gain: float) -> str:
    """Return what adapting changed of the AUROC, in words; nothing that rounds to 0 counts as a loss."""
    return f"{gain:+.3f} by adapting" if abs(gain) >= 0.0005 else UNCHANGED


def _final(cell: DeltaGenerator, final: float | None, unadapted: float | None, undefined: str) -> None:
    """Draw the final AUROC, and what adapting changed of it. undefined: why there is none, or nothing."""
    change = None if final is None or unadapted is None else _change(final - unadapted)
    cell.metric(
        "Final AUROC",
        wording.auroc(final),
        change,
        delta_color="off" if change == UNCHANGED else "normal",
        delta_arrow="off" if change == UNCHANGED else "auto",
        help=tip("final_auroc") + undefined,
        border=True,
        height="stretch",
    )


def _results(run: LoadedRun, curve: Curve) -> None:
    """Show the final numbers in one row, each with what it means."""
    metrics = run.metrics or {}
    final, unadapted = metrics.get("auroc"), metrics.get("unadapted_auroc")
    undefined = "" if final is not None else f" {tip('undefined')}"
    cells = st.columns(4)
    _final(cells[0], final, unadapted, undefined)
    cells[1].metric(
        "Unadapted AUROC",
        wording.auroc(unadapted),
        "step 0",
        delta_color="off",
        delta_arrow="off",
        help=tip("unadapted_auroc") + undefined,
        border=True,
        height="stretch",
    )
    cells[2].metric(
        "Stop step",
        wording.step(metrics.get("stop_step")),
        "without labels",
        delta_color="off",
        delta_arrow="off",
        help=tip("stop_step"),
        border=True,
        height="stretch",
    )
    cells[3].metric(
        "Oracle AUROC",
        wording.auroc(metrics.get("oracle_auroc")),
        f"at step {wording.step(metrics.get('oracle_step'))}",
        delta_color="off",
        delta_arrow="off",
        help=tip("oracle") + undefined,
        border=True,
        height="stretch",
    )
    words, link = st.columns([3, 1], vertical_alignment="center")
    words.caption(
        f"95 % interval of the final AUROC: {wording.interval(metrics.get('auroc_low'), metrics.get('auroc_high'))}, "
        f"from {wording.count(metrics.get('test_images', 0), 'test image')}. Adapted on "
        f"{wording.count(metrics.get('train_images', 0) - metrics.get('held_out_images', 0), 'normal image')}; "
        f"{metrics.get('held_out_images', 0)} held out to set the threshold."
    )
    link.page_link(
        EXAMINE,
        label="Examine images",
        icon=":material/image_search:",
        query_params={"run": run.run_id},
        width="stretch",
    )
