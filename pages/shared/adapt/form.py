"""The form that describes a run: one widget for each field of a `RunConfig`, each bound to the URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages.shared.adapt.form_values import AUTOMATIC, FIELDS
from pages.shared.forms.choices import choose_dataset, choose_options, choose_whole
from pages.shared.forms.named import choose_named
from pages.shared.frame.glossary import tip
from pages.shared.frame.teaching import is_locked
from pages.shared.region.marking import Marking
from pages.shared.region.of_form import choose_form_region
from panda_core.backbones import BACKBONES
from panda_core.config import FEATURE_NORMS, RunConfig, default_data_root
from panda_core.datasets import Dataset
from panda_core.errors import PandaError
from panda_core.methods.options import OWN
from panda_core.methods.table import RECIPES
from panda_core.runs.adapt.settings import with_defaults
from panda_core.runs.kinds import options_of, resolve
from panda_core.scoring.table import SCORERS


def form() -> tuple[RunConfig, Marking | None]:
    """Draw the form and return the config it describes, and what is marked while only a part of the pictures counts.

    A config that cannot be raises `PandaError`.
    """
    dataset = choose_dataset()
    root = Path(default_data_root())
    classes = dataset.classes(root) if dataset else ()
    normal_class = None
    if dataset and classes:
        normal_class = st.selectbox(
            "Normal class",
            classes,
            key="normal_class",
            help=tip("class"),
            bind="query-params",
            disabled=is_locked("normal_class"),
        )
    roi, marking = choose_form_region("", dataset.key, normal_class) if dataset else ("", None)
    names = {key: row.title for key, row in RECIPES.items()}
    recipe = choose_named("Recipe", names, "recipe", FIELDS["recipe"], tip("recipe"))
    st.caption(f"{RECIPES[recipe].about} On the command line: {recipe}.")
    automatic = _automatic(dataset, normal_class, recipe)
    steps, lr, seed = _numbers(automatic)
    with st.expander("More settings", icon=":material/tune:"):
        rest = _more(automatic)
        st.markdown("**Options of this recipe, score and network**", help=tip("set_options"))
        key = dataset.key if dataset else "digits"
        options = options_of(RunConfig(dataset=key, recipe=recipe, scorer=rest["scorer"], backbone=rest["backbone"]))
        asked = with_defaults(RunConfig(recipe=recipe, scorer=rest["scorer"], backbone=rest["backbone"]))
        norm = rest["feature_norm"] or automatic.feature_norm
        settings = choose_options(options, fields={"scorer": asked.scorer, "feature_norm": norm})
    config = RunConfig(
        dataset=dataset.key if dataset else f"folder:{st.session_state.get('folder', '')}",
        normal_class=normal_class,
        recipe=recipe,
        steps=steps,
        lr=lr,
        seed=seed,
        roi=roi,
        set=settings,
        **rest,
    )
    return config, marking


def _numbers(automatic: RunConfig) -> tuple[int | None, float | None, int]:
    """Draw steps, learning rate and seed side by side, and return them."""
    left, middle, right = st.columns(3)
    steps = choose_whole(left, "Steps", "steps", 0, 1_000_000, 10, _shown(automatic.steps))
    lr = middle.number_input(
        "Learning rate",
        min_value=1e-9,
        max_value=100.0,
        value=FIELDS["lr"],
        step=0.05,
        format="%g",
        key="lr",
        disabled=is_locked("lr"),
        placeholder=_shown(automatic.lr),
        help=tip("lr"),
        bind="query-params",
    )
    seed = right.number_input(
        "Seed",
        min_value=0,
        max_value=2**31 - 1,
        value=0,
        step=1,
        key="seed",
        help=tip("seed"),
        bind="query-params",
        disabled=is_locked("seed"),
    )
    return steps, lr, int(seed or 0)


def _automatic(dataset: Dataset | None, normal_class: str | None, recipe: str) -> RunConfig:
    """Return what fields left empty will become, as far as it is known."""
    state = st.session_state
    backbone = state.get("backbone", AUTOMATIC)
    config = RunConfig(
        dataset=dataset.key if dataset else "digits",
        normal_class=normal_class if dataset else None,
        recipe=recipe,
        backbone=backbone if backbone in BACKBONES else None,
        steps=state.get("steps") if recipe != "frozen" else None,
    )
    try:
        filled = resolve(config)
        return resolve(config.replace(steps=None)).replace(eval_every=filled.eval_every)
    except PandaError:
        return config


def _more(automatic: RunConfig) -> dict[str, Any]:
    """Draw the settings that most people leave alone, and return them by field."""
    filled = with_defaults(automatic)
    networks = {key: row.title for key, row in BACKBONES.items()}
    backbone = choose_named("Network", _or_automatic(networks, filled.backbone), "backbone", AUTOMATIC, tip("backbone"))
    if missing := BACKBONES[str(filled.backbone) if backbone == AUTOMATIC else backbone].missing():
        st.caption(missing)
    norms = _or_automatic({norm: norm for norm in FEATURE_NORMS}, automatic.feature_norm or FEATURE_NORMS[0])
    norm = choose_named("Feature norm", norms, "feature_norm", AUTOMATIC, tip("feature_norm"))
    scorers = {key: row.title[0].upper() + row.title[1:] for key, row in SCORERS.items()}
    scorer = choose_named("Score", _or_automatic(scorers, filled.scorer), "scorer", AUTOMATIC, tip("scorer"))
    left, right = st.columns(2)
    rest: dict[str, Any] = {
        "image_size": choose_whole(left, "Image size", "image_size", 16, 1024, 16, _shown(automatic.image_size)),
        "batch_size": choose_whole(right, "Batch size", "batch_size", 1, 4096, 8, _shown(filled.batch_size)),
        "eval_every": choose_whole(left, "Measure every", "eval_every", 1, 1_000_000, 1, _shown(automatic.eval_every)),
        "train_limit": choose_whole(right, "Training images", "train_limit", 2, 10_000_000, 50, "all"),
        "test_limit": choose_whole(left, "Test images", "test_limit", 1, 10_000_000, 50, "all"),
    }
    name = right.text_input("Name", key="name", max_chars=80, help=tip("name"), bind="query-params")
    return {
        **rest,
        "backbone": None if backbone == AUTOMATIC else backbone,
        "feature_norm": None if norm == AUTOMATIC else norm,
        "scorer": None if scorer == AUTOMATIC else scorer,
        "name": name.strip(),
    }


def _or_automatic(names: dict[str, str], filled: str | None) -> dict[str, str]:
    """Return choices (key -> name) with the automatic one first. filled: the key that it becomes."""
    becomes = "the recipe's own" if filled == OWN else names.get(str(filled), "")
    return {AUTOMATIC: f"Automatic: {becomes}" if becomes else "Automatic", **names}


def _shown(value: float | None) -> str:
    return "automatic" if value is None else f"{value:g}"
