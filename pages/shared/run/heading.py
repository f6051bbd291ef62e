"""What stands on top of every view of one run: its name, its state, the way to its other views, and its link."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import EXAMINE, INSTRUMENT, LINKS, NEW_CLASSES, SEGMENT, SETTINGS
from pages.shared.player.time_machine_maps import find_maps
from pages.shared.runs.choice import OPENS, PARAMETER, is_recorded
from pages.shared.runs.live import follow_states
from panda_core.errors import PandaError
from panda_core.runs.corrected import corrections_of, counted
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.loaded import LoadedRun

Link = tuple[str, str, str, str]  # page, label, icon, id of the run it shows


def show_title(folder: RunFolder | None, title: str) -> None:
    """Draw the heading of a run, whose name is then the page's; without a run, or for a broken one, `title`."""
    try:
        if folder is not None:
            show_heading(folder)
            return
    except PandaError:
        pass  # the view below says what is wrong with it
    st.title(title)


def show_heading(folder: RunFolder) -> None:
    """Draw name, state, views and link of a run in one row; its name is the title of the page."""
    run = LoadedRun(folder)
    name, state = wording.sentence(wording.run_title(run.config)), folder.state().state
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="run-heading"):
        st.title(name, width="content", anchor=False)
        icon, colour = wording.STATES[state]
        if is_recorded(folder):
            st.badge("recorded", icon=":material/history:", color="gray", help=tip("recorded"))
        else:
            st.badge(state, icon=icon, color=colour, help=tip("state"))
        for page, label, sign, run_id in views_of(run, computing=state not in ENDED):
            st.page_link(page, label=label, icon=f":material/{sign}:", query_params={PARAMETER: run_id})
        with st.popover("Share", icon=":material/link:", help=tip("share"), type="tertiary"):
            st.markdown("The address of this page leads here again: copy it from the browser.")
            st.page_link(
                LINKS,
                label="Prepare a link for a class",
                icon=":material/school:",
                query_params={OPENS: run.run_id},
            )
    show_corrections(folder)
    follow_states([(folder, state)])


def show_corrections(folder: RunFolder) -> None:
    """Say what was corrected of a run in a terminal, and that the pages show it as it was before; else nothing."""
    try:
        corrections = corrections_of(folder)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    if corrections:
        st.info(
            f"Corrected in a terminal: {counted(corrections)}. What is shown here is the run as it was before; the "
            f"detector to download and the commands, such as `score {folder.run_id}`, are the one learned again.",
            icon=":material/edit_note:",
        )


def views_of(run: LoadedRun, *, computing: bool) -> list[Link]:
    """Return the views that a run of its kind has, as links."""
    run_id = run.run_id
    settings = (SETTINGS, "Settings", "tune", run_id)
    if run.kind.key == "segment":
        return [(SEGMENT, "Maps", "center_focus_strong", run_id), settings]
    if run.kind.key == "few-shot":
        return [(NEW_CLASSES, "Verdicts", "category", run_id), settings]
    views = [
        (INSTRUMENT, "Live" if computing else "Film", "movie", run_id),
        (EXAMINE, "Images", "image_search", run_id),
    ]
    maps = find_maps(run)
    if maps is not None:
        views.append((SEGMENT, "Maps", "center_focus_strong", maps.run_id))
    return [*views, settings]
