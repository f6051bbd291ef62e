"""Watch, the first page: one recorded run as a film, others to choose, and three doors to what can be done."""

from __future__ import annotations

import streamlit as st

from pages.shared.forms.named import address
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, LESSONS, OWN
from pages.shared.frame.teaching import hidden_panels
from pages.shared.player.time_machine import show_time_machine, title_of
from pages.shared.runs.choice import recorded_runs
from panda_core.errors import PandaError
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun

# Recorded runs, the first opens -> what each of them shows, which a test holds against its numbers.
FILMS = {
    "break-elpv-mono": "Adapted to good solar cells alone, a network finds bad ones better: about as well as "
    "whitening, which takes no step.",
    "break-digits-9": "Adapted to nines alone, it soon finds other digits better, then loses most of the gain: all are "
    "drawn together.",
    "break-cifar10-ship": "Adapted to ships alone, it first finds other things better, then worse than with nothing "
    "adapted.",
    "ewc-digits-9": "Adapted to nines, with the weights that matter held: better, and so to the last step.",
}
CHOSEN = "film"  # query parameter, and key of the choice
# What somebody wants, what for, and where that is done.
WAYS: tuple[tuple[str, str, str, str], ...] = (
    (":material/school:", "Teach it", "Five short lessons with a question before each answer.", LESSONS),
    (":material/fact_check:", "Check my photos", "Learn what is normal from good photos, and find defects.", OWN),
    (":material/science:", "Run experiments", "Adapt a network, race recipes, and see which one holds.", ADAPT),
)


def show() -> None:
    """Draw the page."""
    st.title("Adapt a network to what is normal, and see how far is too far")
    films = _films()
    if not films:
        st.info("The recorded runs are missing from this copy of the program. Start one of your own below.")
    else:
        _film(films)
    if "presets" not in hidden_panels():
        _ways()
    st.caption(
        "PANDA: Reiss, Cohen, Bergman and Hoshen, “PANDA: Adapting Pretrained Features for Anomaly Detection and "
        "Segmentation”, CVPR 2021."
    )


def _films() -> dict[str, LoadedRun]:
    """Return the recorded runs to choose from, by their ids."""
    try:
        found = {run_id: RunFolder.by_id(run_id, recorded_runs()) for run_id in FILMS}
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return {}
    return {run_id: LoadedRun(folder) for run_id, folder in found.items() if folder is not None}


def _film(films: dict[str, LoadedRun]) -> None:
    """Draw the choice of a recorded run, and its film, which plays at once."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        told = st.empty()
        asked = st.query_params.get(CHOSEN, "")
        run_id = st.pills(
            "Recording",
            list(films),
            default=asked if asked in films else next(iter(films)),
            format_func=lambda run_id: wording.run_title(films[run_id].config),
            key=CHOSEN,
            help=tip("film"),
            required=True,
            label_visibility="collapsed",
            wrap=True,
        )
        told.markdown(FILMS[run_id], width="content")
    address(CHOSEN, "" if run_id == next(iter(films)) else run_id)
    run = films[run_id]
    try:
        show_time_machine(run, key=f"film-{run_id}", plays=True)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    st.caption(f"A recorded run. {title_of(run)}. AUROC: {tip('auroc_short')}")


def _ways() -> None:
    with st.grid(3, min_column_width=240):
        for icon, title, about, page in WAYS:
            with st.container(border=True, height="stretch", gap="xsmall"):
                st.page_link(page, label=f"**{title}**", icon=icon)
                st.markdown(about)
