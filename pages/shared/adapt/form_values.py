"""The values of the form that describes a run: their defaults, and how they are filled from a preset or from a run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from pages.shared.forms.choices import OWN_FOLDER, PREFIX
from panda_core.backbones import BACKBONES
from panda_core.config import RunConfig, default_data_root
from panda_core.datasets import DATASETS
from panda_core.errors import PandaError
from panda_core.methods.table import RECIPES
from panda_core.runs.kinds import options_of, resolve
from panda_core.scoring.table import SCORERS

AUTOMATIC = "automatic"
FIELDS: dict[str, Any] = {
    "dataset": "digits",
    "folder": "",
    "normal_class": None,
    "recipe": "panda-early",
    "steps": None,
    "lr": None,
    "seed": 0,
    "name": "",
    "backbone": AUTOMATIC,
    "image_size": None,
    "feature_norm": AUTOMATIC,
    "scorer": AUTOMATIC,
    "batch_size": None,
    "train_limit": None,
    "test_limit": None,
    "eval_every": None,
}


CHOSEN = ("backbone", "scorer", "feature_norm")  # choices between names, one of which is "automatic"
OPEN = ("steps", "lr", "image_size", "eval_every", "batch_size", *CHOSEN)  # what a run can leave to its recipe


def fill(values: Mapping[str, Any]) -> None:
    """Set every widget of the form: to its value in `values`, else to its default. Call before they are drawn."""
    for key, default in (FIELDS | _option_defaults(values)).items():
        st.session_state[key] = values.get(key, default)
    if st.session_state["normal_class"] is None:
        dataset = DATASETS.get(st.session_state["dataset"])
        classes = dataset.classes(Path(default_data_root())) if dataset else ()
        if classes:
            st.session_state["normal_class"] = classes[0]
        else:
            del st.session_state["normal_class"]


def _option_defaults(values: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Return the key and default of every option that any recipe, scorer or backbone has.

    Recipes and networks differ in the defaults of options of one name; those that `values` choose go first.
    """
    tables = [row.options for row in RECIPES.values()] + [row.options for row in SCORERS.values()]
    tables += [row.options for row in BACKBONES.values()]
    names = {key: values.get(key, FIELDS[key]) for key in ("recipe", "scorer", "backbone")}
    chosen: dict[str, Any] = {key: None if name == AUTOMATIC else name for key, name in names.items()}
    with contextlib.suppress(PandaError):  # a name that is no more; the form says so
        tables.append(options_of(RunConfig(dataset="folder:", **chosen)))  # those of folders too
    return {PREFIX + key: option.default for options in tables for key, option in options.items()}


def values_of(config: RunConfig) -> dict[str, Any]:
    """Return the form's values that give `config`; what equals an automatic choice is left automatic."""
    values: dict[str, Any] = {key: getattr(config, key) for key in FIELDS if hasattr(config, key)}
    if config.dataset.startswith("folder:"):
        values |= {"dataset": OWN_FOLDER, "folder": config.dataset.removeprefix("folder:")}
    left_open = dict.fromkeys(OPEN)
    try:
        automatic = resolve(config.replace(**left_open))
        for key in left_open:
            values[key] = None if getattr(automatic, key) == values[key] else values[key]
        automatic = resolve(config.replace(eval_every=None))
        values["eval_every"] = None if automatic.eval_every == config.eval_every else config.eval_every
        defaults = options_of(config)
    except PandaError:  # its data or weights are gone; its values are still worth showing
        defaults = {}
    for key in CHOSEN:
        values[key] = values[key] or AUTOMATIC
    for key, value in config.set.items():
        if key in defaults and value != defaults[key].default:
            values[PREFIX + key] = value
    return values
