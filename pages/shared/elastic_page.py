"""The Elastic weights page: how firmly the pretrained weights are held, and what that does to each layer."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.shared.forms.choices import PREFIX
from pages.shared.forms.presets import STRENGTHS, address_of, elastic_settings, strength_key
from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT
from pages.shared.player.layers import show_layers
from pages.shared.player.time_machine import show_time_machine, title_of
from pages.shared.runs.choice import recorded_runs
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.figures import Curve, curve_of, strengths_figure
from panda_core.runs.adapt.layers import layers_of
from panda_core.runs.folder import RunFolder
from panda_core.runs.launch import start
from panda_core.runs.loaded import LoadedRun

STARTED = "elastic_started"


def show() -> None:
    """Draw the page."""
    st.title("Elastic weights")
    st.markdown(
        "Elastic weights (EWC) tie each weight to its pretrained value with a spring: stiffer where the weight matters "
        "more for the network's answers. Move the strength of all springs, from none to very stiff."
    )
    runs = recorded_strengths()
    if not runs:
        st.info("The recorded runs are missing from this copy of the program.", icon=":material/info:")
        return
    names = {f"{strength:.0f}": strength for strength in runs}
    first = list(names)[min(1, len(names) - 1)]
    chosen = st.select_slider(
        "Strength",
        list(names),
        value=first,
        format_func=lambda name: f"{int(name):,}",
        key="strength",
        help=tip("strength"),
        bind="query-params",
    )
    strength = names.get(str(chosen), names[first])
    run = runs[strength]
    try:
        # At its end, where strengths differ most; a step in the address counts for all of them.
        show_time_machine(run, key=f"elastic-{run.run_id}", plays=False, at=run.evaluated[-1].step)
        st.caption(f"A recorded run. {title_of(run)}")
        _real_run(strength)
        _curves(runs, strength)
        show_layers(run.folder, layers_of(runs[min(runs)].folder))
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def recorded_strengths() -> dict[float, LoadedRun]:
    """Return strength -> its recorded run, the weakest first, of those that are here."""
    folders = {strength: RunFolder.by_id(strength_key(strength), recorded_runs()) for strength in STRENGTHS}
    return {strength: LoadedRun(folder) for strength, folder in folders.items() if folder is not None}


def _curves(runs: dict[float, LoadedRun], strength: float) -> None:
    curves = [_curve(run, f"{key:,.0f}") for key, run in runs.items()]
    front_index = list(runs).index(strength)
    front = curves[front_index]
    for column, measure, title, term, values in zip(
        st.columns(2, gap="medium"),
        ("auroc", "ratio"),
        ("AUROC at every strength", "Anomalous distance divided by training distance"),
        ("auroc", "ratios"),
        (front.auroc, front.anomalous_ratio),
        strict=True,
    ):
        with column:
            st.markdown(f"**{title}**", help=tip(term))
            show_figure(
                strengths_figure(curves, front_index, measure),
                key=f"strengths-{measure}",
                alt=f"{title}, {len(curves)} strengths. At strength {front.label} it goes from "
                f"{wording.amount(values[0])} to {wording.amount(values[-1])}.",
            )


def _curve(run: LoadedRun, label: str) -> Curve:
    return curve_of(run.evaluated, label=label, last_step=run.config.steps, metrics=run.metrics)


def _real_run(strength: float) -> None:
    """Offer to compute the run of this strength, or another in between, on this machine."""
    settings = elastic_settings(strength)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Run it for real", icon=":material/play_arrow:", key="elastic_run", help=tip("elastic_run")):
            options = {key.removeprefix(PREFIX): value for key, value in settings.items() if key.startswith(PREFIX)}
            fields: dict[str, Any] = {key: value for key, value in settings.items() if not key.startswith(PREFIX)}
            try:
                st.session_state[STARTED] = start(RunConfig(**fields, set=options)).run_id
            except PandaError as error:
                st.error(wording.sentence(str(error)), icon=":material/error:")
        if started := st.session_state.get(STARTED):
            st.page_link(ADAPT, label="Watch it", icon=":material/monitoring:", query_params={"run": started})
        st.page_link(
            ADAPT,
            label="Choose another strength",
            icon=":material/tune:",
            query_params=address_of(settings),
            help=tip("preset"),
        )
