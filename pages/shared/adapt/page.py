"""The Adapt page: settings on the left, the run on the right."""

from __future__ import annotations

import streamlit as st

from pages.shared.adapt.form import form
from pages.shared.adapt.form_values import FIELDS, fill, values_of
from pages.shared.forms.choices import PREFIX, awaits_folder
from pages.shared.forms.presets import PRESETS
from pages.shared.forms.starting import show_start
from pages.shared.frame import wording
from pages.shared.frame.charts import first_curve
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import class_sheets
from pages.shared.runs.choice import has_maps, open_run, opened_run
from pages.shared.runs.live import show_run
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import resolve
from panda_core.runs.launch import keep_ready

FILLED = "form_filled_from"  # the run whose settings the form took over last


def show() -> None:
    """Draw the page."""
    folder = opened_run()
    if folder is not None:
        _take_settings_of(folder)
    st.title("Adapt a network to normal images")
    with st.container(horizontal=True, gap="small"):
        for preset in PRESETS:
            st.button(
                preset.title,
                icon=preset.icon,
                key=f"preset-{preset.key}",
                help=f"{preset.question} {tip('preset')}",
                on_click=fill,
                args=(preset.settings,),
            )
    left, right = st.columns([1, 2.1], gap="large")
    with left:
        config = _described_run()
    with right:
        if folder is not None:
            show_run(folder)
        elif config is not None:
            _before_start(config)
            keep_ready()  # while people look at the form, a process imports what a run needs


def _take_settings_of(folder: RunFolder) -> None:
    """Fill the form with the settings of a run that was opened by its address alone."""
    if st.session_state.get(FILLED) == folder.run_id or has_maps(folder):
        return
    st.session_state[FILLED] = folder.run_id
    if any(key in FIELDS or key.startswith(PREFIX) for key in st.query_params):
        return
    try:
        fill(values_of(folder.config()))
    except PandaError:
        return  # the run's own panel says what is wrong with it


def _described_run() -> RunConfig | None:
    """Draw the form and its button; return what it describes, or None where that cannot be run."""
    config, problem = None, ""
    try:
        config = form()
        resolve(config)
    except PandaError as error:
        config, problem = None, str(error)
    if awaits_folder():
        problem = ""
    started = show_start(config, problem, key="start", about=tip("start"))
    if started is not None:
        st.session_state[FILLED] = started
        open_run(started)
        st.rerun()
    return config


_BESIDE = {
    None: "and to nothing else",
    "outliers": "beside other images as examples of what is not normal",
    "source": "while it goes on classifying ImageNet",
}


def _before_start(config: RunConfig) -> None:
    """Show what counts as normal here, and what does not."""
    filled = resolve(config)
    try:
        normal, others = class_sheets(filled.dataset, filled.data_root, str(filled.normal_class), filled.seed)
    except PandaError as error:
        st.warning(wording.sentence(str(error)), icon=":material/info:")
        return
    with st.container(border=True):
        st.markdown(f"**Normal: {wording.sentence(str(filled.normal_class))}**", help=tip("class"))
        if normal is not None:
            st.image(normal, alt=f"Some normal training images of class {filled.normal_class}")
        st.caption(f"The network is adapted to images like these, {_BESIDE[RECIPES[filled.recipe].auxiliary]}.")
        st.markdown("**Anomalous: everything else in the test set**")
        if others is not None:
            st.image(others, alt="Some test images of other classes")
        else:
            st.caption("There are no anomalies here, so the run will have scores but no AUROC.")
    st.markdown(
        f"{wording.count(int(filled.steps or 0), 'step')} of {filled.batch_size} images, learning rate "
        f"{filled.lr:g}, measured every {wording.count(int(filled.eval_every or 1), 'step')}. "
        "Press **Start**: the first point, the unadapted network, appears here within seconds."
    )
    first_curve(int(filled.steps or 1))
