"""The Lab: describe a run by a card or by its settings, add rivals, start. The run itself has a page of its own."""

from __future__ import annotations

import streamlit as st

from pages.shared.adapt.form import form
from pages.shared.adapt.form_values import fill
from pages.shared.adapt.rivals import choose_rivals, rivals_of
from pages.shared.forms.choices import awaits_folder
from pages.shared.forms.presets import PRESETS, Preset
from pages.shared.forms.starting import pressed
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import DUEL, INSTRUMENT
from pages.shared.frame.teaching import hidden_panels
from pages.shared.frame.thumbnails import class_sheets
from pages.shared.region.marking import Marking, show_region
from pages.shared.region.of_form import check_region, forget_region
from pages.shared.runs.choice import PARAMETER, RACE, opened_run
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.methods.table import RECIPES
from panda_core.runs.kinds import resolve
from panda_core.runs.launch import keep_ready, start

PICTURE = 140  # pixels of the side of each image of the two classes


def show() -> None:
    """Draw the page."""
    if opened_run() is not None:  # an address of former times, when a run was shown beside the form
        st.switch_page(INSTRUMENT, query_params=st.query_params.to_dict())
    st.title("Adapt a network to normal images")
    left, right = st.columns([1, 2.9], gap="medium")
    with left:
        if "presets" not in hidden_panels():
            _cards()
        config, rivals, marking, problem = _described()
    with right.container(border=True, key="ahead"):
        label = "Start the race" if rivals else "Start"
        if config is not None:
            _summary(config, rivals)
        if pressed(config, problem, key="start", about=tip("start"), label=label) and config is not None:
            _start(config, rivals)
        if marking is not None:
            show_region(marking)
        if config is not None:
            _pictures(config)
            keep_ready()  # while people look at the form, a process imports what a run needs


def _cards() -> None:
    """Draw the presets: a card fills in the whole form."""
    with st.container(border=True, gap="xsmall"):
        for preset in PRESETS:
            st.button(
                preset.title,
                key=f"preset-{preset.key}",
                help=tip("preset"),
                type="tertiary",
                icon=preset.icon,
                on_click=_use,
                args=(preset,),
            )
            st.caption(preset.question)


def _use(preset: Preset) -> None:
    fill(preset.settings)
    forget_region("")
    st.session_state["rivals"] = []


def _described() -> tuple[RunConfig | None, list[str], Marking | None, str]:
    """Draw the form; return what it describes, or None where that cannot be run, rivals, marking, and what is wrong."""
    rivals: list[str] = []
    marking = None
    try:
        config, marking = form()
        rivals = choose_rivals(config.recipe)
        check_region(config)
        resolve(config)
    except PandaError as error:
        return None, rivals, marking, "" if awaits_folder() else str(error)
    return config, rivals, marking, ""


def _start(config: RunConfig, rivals: list[str]) -> None:
    """Start a run and its rivals, and go where they are watched; say why not where they cannot be started."""
    try:
        started = [start(one).run_id for one in (rivals_of(config, rivals) if rivals else [config])]
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    if rivals:
        st.switch_page(DUEL, query_params={RACE: ",".join(started)})
    st.switch_page(INSTRUMENT, query_params={PARAMETER: started[0]})


_BESIDE = {
    None: "and to nothing else",
    "outliers": "beside other images as examples of what is not normal",
    "source": "while it goes on classifying ImageNet",
}


def _summary(config: RunConfig, rivals: list[str]) -> None:
    """Say what a press on the button will do."""
    filled = resolve(config)
    watched = "The run has a page of its own, where its film grows from step 0, the unadapted network."
    if rivals:
        racing = "; ".join(f"**{RECIPES[key].title}**" for key in (config.recipe, *rivals))
        watched = f"The race has a page of its own, where all start from step 0, the unadapted network: {racing}."
    if not filled.steps:
        st.markdown("Nothing is adapted: images are scored once, under the network as it is. The run has a page.")
        return
    st.markdown(
        f"{wording.count(int(filled.steps), 'step')} of {filled.batch_size} images, learning rate "
        f"{filled.lr:g}, measured every {wording.count(int(filled.eval_every or 1), 'step')}. {watched}"
    )


def _pictures(config: RunConfig) -> None:
    """Show what counts as normal here, and what does not."""
    filled = resolve(config)
    try:
        normal, others = class_sheets(filled.dataset, filled.data_root, str(filled.normal_class), filled.seed, PICTURE)
    except PandaError as error:
        st.warning(wording.sentence(str(error)), icon=":material/info:")
        return
    st.markdown(f"**Normal: {wording.sentence(str(filled.normal_class))}**", help=tip("class"))
    if normal is not None:
        st.image(normal, width="stretch", alt=f"Some normal training images of class {filled.normal_class}")
    adapted = f"The network is adapted to images like these, {_BESIDE[RECIPES[filled.recipe].auxiliary]}."
    st.caption(adapted if filled.steps else "Others are scored by how far they are from images like these.")
    st.markdown("**Anomalous: everything else in the test set**")
    if others is not None:
        st.image(others, width="stretch", alt="Some test images of other classes")
    else:
        st.caption("There are no anomalies here, so the run will have scores but no AUROC.")
