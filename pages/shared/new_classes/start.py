"""Training a model for new classes: the form, and the example that takes one click."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from pages.shared.forms.choices import choose_dataset, choose_options
from pages.shared.forms.starting import show_start, start_run
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import class_sheets
from panda_core.config import RunConfig, default_data_root
from panda_core.datasets import Dataset
from panda_core.errors import PandaError
from panda_core.few_shot.table import GENERALISERS
from panda_core.runs.kinds import options_of, resolve
from panda_core.runs.launch import keep_ready

FORM = "new_"  # of the keys of this form's widgets
SET = f"{FORM}set_"  # of those of its options
EXAMPLE: Mapping[str, Any] = {  # no config: its folders are those of now, not those of when this file was read
    "recipe": "resad",
    "dataset": "elpv",
    "normal_class": "poly",
    "steps": 40,
    "test_limit": 60,
    "set": {"seen": "mono@elpv", "seen_limit": 80, "levels": "blocks.3,blocks.4,blocks.5"},
    "name": "New classes: mono to poly",
}
_FIRST = ("seen", "references", "residual", "anomalies")  # options that are shown outside of the expander


def show_example() -> str | None:
    """Offer the training that starts with one click, and return the id of the run that it has just started."""
    with st.container(border=True, key="example"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**See it on solar cells.** About a minute.", width="content")
            pressed = st.button(
                "Train the example",
                icon=":material/play_arrow:",
                type="primary",
                key="new-example",
                help=tip("new_example"),
            )
        _example_pictures()
        return start_run(RunConfig(**EXAMPLE)) if pressed else None


def _example_pictures() -> None:
    """Show what the example is trained on, and what it then judges; nothing where the cells are not installed."""
    try:
        seen, _ = class_sheets("elpv", default_data_root(), "mono", 0)
        good, bad = class_sheets("elpv", default_data_root(), "poly", 0)
    except PandaError:  # the form says how to get them
        return
    for words, cells in (
        ("**Trained on**: monocrystalline cells", seen),
        ("**Then shown** two to eight good polycrystalline cells, which it has never seen", good),
        ("**And judges** whether others are like them, as these are not", bad),
    ):
        if cells is not None:
            told, shown = st.columns([1, 3], gap="medium", vertical_alignment="center")
            told.markdown(words)
            shown.image(cells, width="stretch", alt=words.replace("*", ""))


def show_form() -> str | None:
    """Draw the form and its button, and return the id of the run that a press has just started."""
    keep_ready()  # while people look at the form, a process imports what a run needs
    left, right = st.columns([1, 1.25], gap="large")
    config, problem = None, ""
    with left:
        st.markdown("**The new class, to test with**", help=tip("new_class"))
        dataset = choose_dataset(FORM, first="elpv")
        try:
            chosen = None if dataset is None else _new_class(dataset)
        except PandaError as error:
            dataset, chosen, problem = None, None, str(error)
    with right:
        settings, steps, name = _training(dataset)
        if dataset is not None:
            try:
                config = RunConfig(
                    recipe="resad",
                    dataset=dataset.key,
                    normal_class=chosen,
                    steps=steps,
                    name=name,
                    set=settings,
                )
                st.caption(f"Trained on: {wording.sentence(str(resolve(config).set['seen']))}")
            except PandaError as error:
                config, problem = None, str(error)
        return show_start(config, problem, key="new-train", about=tip("new_train"), label="Train")


def _new_class(dataset: Dataset) -> str:
    """Draw the choice of the class that is not trained on, the last one at first, and return it."""
    classes = dataset.classes(Path(default_data_root()))
    chosen: str = st.selectbox(
        "New class",
        classes,
        index=len(classes) - 1,
        key=f"{FORM}class",
        help=tip("new_class"),
        bind="query-params",
    )
    return chosen


def _training(dataset: Dataset | None) -> tuple[dict[str, int | float | str], int | None, str]:
    """Draw what is learned and for how long, and return options, steps and name."""
    row = GENERALISERS["resad"]
    st.markdown(f"**{row.title}.** {row.about}")
    st.caption(f"{row.source}.")
    options = options_of(RunConfig(recipe="resad", dataset=dataset.key if dataset else EXAMPLE["dataset"]))
    settings = choose_options({key: options[key] for key in _FIRST}, SET)
    steps = st.number_input(
        "Steps",
        min_value=1,
        max_value=1_000_000,
        value=None,
        key=f"{FORM}steps",
        placeholder=str(row.steps),
        help=tip("new_steps"),
        bind="query-params",
    )
    with st.expander("More settings", icon=":material/tune:"):
        settings |= choose_options({key: option for key, option in options.items() if key not in _FIRST}, SET)
        name = st.text_input("Name", key=f"{FORM}name", max_chars=80, help=tip("name"))
    return settings, steps, name.strip()
