"""Choices that several forms share: a data set, a folder, whole numbers, and the options of a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.forms.named import choose_named
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.teaching import is_locked
from panda_core.config import Option, default_data_root
from panda_core.datasets import DATASETS, Dataset, find_dataset

OWN_FOLDER, OWN_TITLE = "folder", "A folder on this machine"  # in place of a data set: images of one's own
PREFIX = "set_"  # of the keys of widgets for a recipe's, scorer's or network's own options
_NONCOMMERCIAL = ":orange-badge[:material/money_off: non-commercial]"


def choose_dataset(prefix: str = "", first: str = "digits") -> Dataset | None:
    """Draw the choice of images, and return the data set; None while a folder is not named or not understood.

    prefix: of the widgets' keys, for forms on other pages; first: the data set that is chosen at first.
    """
    root = Path(default_data_root())
    missing = {key: dataset.missing(root) for key, dataset in DATASETS.items()}
    names = {key: DATASETS[key].title for key, sentence in missing.items() if sentence is None}
    names[OWN_FOLDER] = OWN_TITLE
    first = first if first in names else next(iter(names))
    key = choose_named("Data set", names, f"{prefix}dataset", first, tip("dataset"))
    if key == OWN_FOLDER:
        dataset = choose_folder(f"{prefix}folder")
        if dataset is None:
            return None
        st.caption(dataset.about.replace("$", r"\$"))
        return None if dataset.missing(root) else dataset
    st.caption(f"{DATASETS[key].about} {licence_line(DATASETS[key])}")
    absent = {name: sentence for name, sentence in missing.items() if sentence is not None}
    if absent and st.button(
        f"{len(absent)} more, to be fetched first",
        icon=":material/download:",
        type="tertiary",
        key=f"{prefix}absent",
        help=tip("absent"),
    ):
        _show_absent(absent)
    return DATASETS[key]


@st.dialog("Data sets to be fetched first", width="large")
def _show_absent(absent: Mapping[str, str]) -> None:
    """Draw how to get each data set that is not here. absent: key -> the sentence that says it."""
    for key, sentence in absent.items():
        st.markdown(f"**{DATASETS[key].title}** (`{key}`)")
        st.caption(sentence)


def awaits_folder(prefix: str = "") -> bool:
    """Return whether a form waits for the name of a folder: nothing is wrong with it then."""
    state = st.session_state
    return state.get(f"{prefix}dataset") == OWN_FOLDER and not str(state.get(f"{prefix}folder", "")).strip()


def choose_folder(key: str) -> Dataset | None:
    """Draw the field for a folder of images, and return it as a dataset; None while it is not named."""
    path = st.text_input(
        "Folder of images", key=key, placeholder="/home/me/good-parts", help=tip("folder"), bind="query-params"
    )
    if not path.strip():
        st.caption("Images of your own, on the machine that runs this program.")
        return None
    return find_dataset(f"folder:{path.strip()}")


def licence_line(dataset: Dataset) -> str:
    """Return Markdown: the licence, and a mark if it forbids commercial use."""
    line = f"Licence: {wording.sentence(dataset.licence)}"
    return f"{_NONCOMMERCIAL} {line}" if dataset.noncommercial else line


def choose_whole(
    column: DeltaGenerator, label: str, key: str, low: int, high: int, step: int, empty: str, prefix: str = ""
) -> int | None:
    """Draw a field for a whole number, and return it; None while it is empty.

    key: of the config's field, whose help text it shows. empty: what it then becomes, in a word. prefix: of the
    widget's key, for forms on other pages.
    """
    value = column.number_input(
        label,
        min_value=low,
        max_value=high,
        value=None,
        step=step,
        key=f"{prefix}{key}",
        disabled=is_locked(f"{prefix}{key}"),
        placeholder=empty,
        help=tip(key),
        bind="query-params",
    )
    return None if value is None else int(value)


def choose_options(
    options: Mapping[str, Option], prefix: str = PREFIX, fields: Mapping[str, str | None] | None = None
) -> dict[str, int | float | str]:
    """Draw options in two columns, and return those that differ from their defaults. prefix: of the widgets' keys.

    fields: of the config, as far as they are chosen. An option that they, or the options drawn before it, leave
    without effect is not drawn.
    """
    changed: dict[str, int | float | str] = {}
    chosen: dict[str, object] = {name: value for name, value in (fields or {}).items() if value is not None}
    columns, drawn = st.columns(2), 0
    for key, option in options.items():
        if option.unmet(chosen) in chosen:
            continue
        value = choose_option(columns[drawn % 2], key, option, prefix)
        chosen[key], drawn = option.default if value is None else value, drawn + 1
        if value is not None and value != option.default:
            changed[key] = value
    return changed


def choose_option(column: DeltaGenerator, key: str, option: Option, prefix: str = PREFIX) -> int | float | str | None:
    """Draw one option of a recipe, scorer, network or method, and return its value."""
    label = wording.setting(key)
    shared: dict[str, Any] = {"key": prefix + key, "bind": "query-params", "disabled": is_locked(prefix + key)}
    about = option.plain
    if option.choices:
        index = option.choices.index(str(option.default))
        chosen: str = column.selectbox(label, option.choices, index=index, help=about, **shared)
        return chosen
    if isinstance(option.default, str):
        return str(column.text_input(label, value=option.default, help=about, **shared))
    kind = type(option.default)
    number: int | float | None = column.number_input(
        label,
        min_value=None if math.isinf(option.low) else kind(option.low),
        max_value=None if math.isinf(option.high) else kind(option.high),
        value=option.default,
        step=1 if kind is int else max(float(option.default) / 10, 1e-6),
        format=None if kind is int else "%g",
        help=about,
        **shared,
    )
    return number
