"""The Home page: the idea in one sentence, a film of it, and four presets."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared import wording
from pages.shared.glossary import tip
from pages.shared.player import show_film
from pages.shared.presets import PRESETS, query_of
from pages.shared.router import ADAPT, EXAMINE
from pages.shared.run_choice import RECORDED
from pages.shared.story import story_of
from panda_core.errors import PandaError
from panda_core.figures import Curve, curve_of
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.store import list_runs

FILM = "break"  # the preset whose recorded run is shown


def show() -> None:
    """Draw the page."""
    st.title("Adapt a network to what is normal, and see how far is too far")
    st.markdown(
        "A pretrained network is adapted to normal images alone: its features first get better at showing anomalies, "
        "then collapse until everything looks alike."
    )
    _film()
    st.subheader("Try it: each takes about half a minute")
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
    st.caption(
        "PANDA: Reiss, Cohen, Bergman and Hoshen, “PANDA: Adapting Pretrained Features for Anomaly Detection and "
        "Segmentation”, CVPR 2021."
    )


def _film() -> None:
    """Show the recorded run, which plays at once."""
    try:
        curve, clouds, title, run_id = _recorded()
    except (PandaError, KeyError, StopIteration):
        st.info("The recorded run is missing from this copy of the program. Start one of your own below.")
        return
    show_film(curve, clouds, story_of(curve), key="film")
    words, link = st.columns([3, 1], vertical_alignment="center")
    words.caption(f"{title}. AUROC: {tip('auroc_short')}")
    link.page_link(
        EXAMINE,
        label="Examine this run",
        icon=":material/image_search:",
        query_params={"run": run_id},
        width="stretch",
    )


@st.cache_resource(max_entries=1, show_spinner=False)
def _recorded() -> tuple[Curve, dict[str, list[np.ndarray]], str, str]:
    """Return the recorded run's curve, its clouds of points at each step, what it is, and its id."""
    folder = next(folder for folder in list_runs(RECORDED) if folder.run_id.startswith(FILM))
    run = LoadedRun(folder)
    curve = curve_of(run.evaluated, last_step=run.config.steps, metrics=run.metrics)
    is_anomaly = np.array(run.split["is_anomaly"])
    clouds: dict[str, list[np.ndarray]] = {"train": [], "normal": [], "anomalous": []}
    for step in curve.steps:
        arrays = run.arrays(step)
        clouds["train"].append(arrays["projection_train"])
        clouds["normal"].append(arrays["projection_test"][is_anomaly == 0])
        clouds["anomalous"].append(arrays["projection_test"][is_anomaly == 1])
    title = (
        f"A recorded run: handwritten digits, {wording.sentence(str(run.config.normal_class))} is normal, "
        f"{run.config.steps} steps at learning rate {run.config.lr:g}"
    )
    return curve, clouds, title, folder.run_id
