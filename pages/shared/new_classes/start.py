"""Training a model for new classes: the form, and the example that takes one click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from pages.shared.forms.run_as_code import show_as_code
from pages.shared.forms.settings import choose_dataset, choose_options
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.config import RunConfig, default_data_root
from panda_core.errors import PandaError
from panda_core.few_shot.table import GENERALISERS
from panda_core.runs.launch import keep_ready, start
from panda_core.runs.plan import options_of, resolve

FORM = "new_"  # of the keys of this form's widgets
SET = f"{FORM}set_"  # of those of its options
EXAMPLE = {
    "recipe": "resad",
    "dataset": "elpv",
    "normal_class": "poly",
    "steps": 40,
    "test_limit": 60,
    "set": {"seen": "mono@elpv", "seen_limit": 80, "levels": "blocks.3,blocks.4,blocks.5"},
    "name": "New classes: mono to poly",
}
_FIRST = ("seen", "references", "residual", "anomalies")  # options that are shown outside of the expander


def show_example(launched: Callable[[str], None]) -> None:
    """Offer the training that starts with one click."""
    with st.container(border=True):
        st.markdown("**See it on solar cells**")
        st.caption("Trains on monocrystalline cells and is tested on polycrystalline ones. About a minute.")
        st.button(
            "Train the example",
            icon=":material/play_arrow:",
            type="primary",
            key="new-example",
            help=tip("new_example"),
            on_click=lambda: _launch(RunConfig(**EXAMPLE), launched),  # type: ignore[arg-type]
        )


def show_start(launched: Callable[[str], None]) -> None:
    """Draw the form and its button; launched: called with the id of a run that was started."""
    keep_ready()  # while people look at the form, a process imports what a run needs
    left, right = st.columns([1, 1.25], gap="large")
    problem, config = "", None
    with left:
        st.markdown("**The new class, to test with**", help=tip("new_class"))
        dataset = choose_dataset(FORM, first="elpv")
        chosen = None
        if dataset is not None:
            try:
                classes = dataset.classes(Path(default_data_root()))
                chosen = st.selectbox(
                    "New class",
                    classes,
                    index=len(classes) - 1,
                    key=f"{FORM}class",
                    help=tip("new_class"),
                    bind="query-params",
                )
            except PandaError as error:
                problem = str(error)
    with right:
        st.markdown(f"**{GENERALISERS['resad'].title}.** {GENERALISERS['resad'].about}")
        st.caption(f"{GENERALISERS['resad'].source}.")
        options = options_of(RunConfig(recipe="resad"))
        settings = choose_options({key: options[key] for key in _FIRST}, SET)
        steps = st.number_input(
            "Steps", min_value=1, max_value=1_000_000, value=None, key=f"{FORM}steps", placeholder="100",
            help=tip("new_steps"), bind="query-params",
        )  # fmt: skip
        with st.expander("More settings", icon=":material/tune:"):
            settings |= choose_options({key: option for key, option in options.items() if key not in _FIRST}, SET)
            name = st.text_input("Name", key=f"{FORM}name", max_chars=80, help=tip("name"))
        if dataset is not None and not problem:
            config = RunConfig(
                recipe="resad", dataset=dataset.key, normal_class=chosen, steps=steps, name=name.strip(), set=settings
            )
            try:
                resolved = resolve(config)
                st.caption(f"Trained on: {wording.sentence(str(resolved.set['seen']))}")
            except PandaError as error:
                problem = str(error)
        if problem:
            st.warning(wording.sentence(problem), icon=":material/info:")
        st.button(
            "Train",
            type="primary",
            icon=":material/play_arrow:",
            width="stretch",
            key="new-train",
            disabled=bool(problem) or config is None,
            help=tip("new_train"),
            on_click=_launch,
            args=(config, launched),
        )
        if config is not None and not problem:
            with st.popover("Copy as command or Python", icon=":material/terminal:", width="stretch"):
                show_as_code(config)


def _launch(config: RunConfig, launched: Callable[[str], None]) -> None:
    try:
        folder = start(config)
    except PandaError as error:
        st.session_state["new_classes_message"] = str(error)
        return
    launched(folder.run_id)
