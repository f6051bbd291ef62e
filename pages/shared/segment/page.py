"""The Segment page: maps of where the defect is, of a run that is there, or of a new one."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.forms.sections import choose_section
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import OWN, SEGMENT
from pages.shared.paint.page import can_paint, show_painting
from pages.shared.run.heading import show_title
from pages.shared.runs.choice import all_runs, choose_rate, choose_run, has_maps, opened_run
from pages.shared.runs.downloads import can_score, download_detector
from pages.shared.runs.live import show_computing, show_ending, show_heading, show_skipped
from pages.shared.segment.archive import download_maps
from pages.shared.segment.map_style import choose_style
from pages.shared.segment.maps import view_of
from pages.shared.segment.numbers import show_counts, show_kinds, show_metrics, show_unused_masks, show_verdicts
from pages.shared.segment.start import LOOK, NEW, PAINT, SECTION, show_example, show_form
from pages.shared.segment.viewer import show_viewer
from panda_core.errors import PandaError
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.loaded import LoadedRun

PICKED = "segmented_run"


def show() -> None:
    """Draw the page."""
    opened = opened_run()
    if opened is not None:
        _show_opened(opened)
        return
    section = choose_section("Where is the defect?", (LOOK, PAINT, NEW), SECTION, tip("segment_section"))
    if section == NEW:
        show_form()
        return
    fits = can_paint if section == PAINT else has_maps
    folders = {folder.run_id: folder for folder in all_runs() if fits(folder)}
    top = st.columns([1.4, 1.3, 0.9], gap="medium", vertical_alignment="bottom")
    with top[0]:
        folder = choose_run(folders, None, PICKED)
    if folder is None:
        _invite()
        return
    _show(folder, section, top[1], top[2])


def _show_opened(folder: RunFolder) -> None:
    """Draw the page of the run in the address: its maps are one view of it."""
    show_title(folder, "Where is the defect?")
    if not has_maps(folder):
        st.info(
            "This run adapts a network and has no maps. Start one that uses its network, or look at others.",
            icon=":material/info:",
        )
        st.page_link(SEGMENT, label="Maps of defects", icon=":material/center_focus_strong:")
        return
    top = st.columns([1.4, 1.3, 0.9], gap="medium", vertical_alignment="bottom")
    section = LOOK
    if can_paint(folder):
        with top[0]:
            section = choose_section("", (LOOK, PAINT), SECTION, tip("segment_section"))
    _show(folder, section, top[1], top[2])


def _show(folder: RunFolder, section: str, row: DeltaGenerator, rest: DeltaGenerator) -> None:
    try:
        if section == PAINT:
            show_painting(LoadedRun(folder), None)
        else:
            _run(folder, row, rest)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _invite() -> None:
    st.info(
        "There are no maps yet. They come from comparing every patch of an image with patches of normal ones.",
        icon=":material/info:",
    )
    show_example()


def _run(folder: RunFolder, row: DeltaGenerator, rest: DeltaGenerator) -> None:
    state = folder.state()
    if state.state not in ENDED:
        show_computing(folder)
        return
    run = LoadedRun(folder)
    events = {event.step: event for event in run.segmented}
    if state.state != "finished":
        show_heading(run.config, state)
        show_ending(folder, state, finished=run.metrics is not None)
    if not events:
        st.info("This run ended before it had maps.", icon=":material/hourglass_empty:")
        return
    with st.container(key="verdicts"):  # stays in sight: see look.css
        slider, words, *steps = st.columns([1, 1.6] + [1] * (len(events) > 1), gap="large", vertical_alignment="center")
        step = _step(list(events), steps[0]) if steps else next(iter(events))
        view = view_of(run, step, choose_rate(slider, "map_alarms", tip("map_alarms")))
        with words:
            show_verdicts(view)
    style = choose_style(view.maps, row, rest)
    show_viewer(view, style, step, list(events))
    st.subheader("How good is it?")
    show_counts(view, style, step)
    show_metrics(view, events[step])
    show_unused_masks(view)
    if step == run.segmented[-1].step:
        show_kinds(view)
    show_skipped(run)
    with st.container(horizontal=True, vertical_alignment="center"):
        download_maps(view, view.run.run_id)
        if can_score(folder):
            download_detector(folder)
            query = {"run": folder.run_id}
            st.page_link(OWN, label="Score other images", icon=":material/fact_check:", query_params=query)


def _step(steps: list[int], column: DeltaGenerator) -> int:
    """Draw the slider over checkpoints of the adapted network, and return the chosen one."""
    names = [str(step) for step in steps]
    chosen = column.select_slider(
        "Network at step", names, value=names[-1], key="map_step", help=tip("map_step"), bind="query-params"
    )
    return int(chosen) if chosen in names else steps[-1]
