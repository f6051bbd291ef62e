"""The Duel page: the same images, the same start, the same seed, and up to four recipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages.shared.duel.race import MOST, show_duel
from pages.shared.forms.choices import choose_dataset
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.teaching import is_locked
from pages.shared.runs.choice import find_run, has_maps
from pages.shared.runs.table import differing_settings, row_of
from panda_core.config import RunConfig, default_data_root
from panda_core.errors import PandaError
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.kinds import options_of
from panda_core.runs.launch import start
from panda_core.runs.loaded import LoadedRun

PARAMETER = "duel"  # query parameter: ids of runs, with commas
LOOK_EVERY = 1.0  # seconds
# Recipes that adapt the default network, and need no images besides the normal ones: all have the same start.
DUELLISTS = [
    key
    for key, recipe in RECIPES.items()
    if recipe.steps and recipe.auxiliary is None and recipe.backbone == RECIPES["panda-early"].backbone
]
FIRST = ("panda-early", "panda-ses", "panda-ewc")
SHARED: Mapping[str, Any] = {"image_size": 64, "test_limit": 300, "train_limit": 300}
OPTIONS = {"cut": "blocks.2", "momentum": 0.0}
EVALUATIONS = 15
RECORDED = ("break-digits-9", "ses-digits-9", "ewc-digits-9")


def show() -> None:
    """Draw the page."""
    st.title("Duel")
    st.markdown("The same images, the same start, the same seed: which recipe gets farthest before it collapses?")
    folders = chosen_runs(st.query_params.get(PARAMETER, ""))
    with st.expander("Start a duel", icon=":material/compare_arrows:", expanded=not folders):
        _form()
    if not folders:
        folders = [folder for run_id in RECORDED if (folder := find_run(run_id))]
        if not folders:
            return
        st.caption("A recorded duel, until you start one: nothing held, sample-wise stopping, and elastic weights.")
    computing = any(folder.state().state not in ENDED for folder in folders)
    st.fragment(_race, run_every=LOOK_EVERY if computing else None)(folders, computing)
    _differences(folders)


def chosen_runs(text: str) -> list[RunFolder]:
    """Return the runs of an address, at most four; ids of no run, or of one with maps, are passed over."""
    folders = [find_run(run_id) for run_id in dict.fromkeys(text.split(",")[:MOST]) if run_id]
    return [folder for folder in folders if folder is not None and not has_maps(folder)]


def _form() -> None:
    dataset = choose_dataset("duel_", "digits")
    if dataset is None:
        return
    left, middle, right, last = st.columns(4)
    classes = dataset.classes(Path(default_data_root()))
    normal = left.selectbox("Normal class", classes, key="duel_class", help=tip("class"), bind="query-params")
    lr = middle.number_input(
        "Learning rate",
        1e-9,
        100.0,
        50.0,
        key="duel_lr",
        format="%g",
        help=tip("lr"),
        bind="query-params",
        disabled=is_locked("lr"),
    )
    steps = right.number_input(
        "Steps", 1, 100_000, 95, key="duel_steps", help=tip("steps"), bind="query-params", disabled=is_locked("steps")
    )
    seed = last.number_input(
        "Seed", 0, 2**31 - 1, 0, key="duel_seed", help=tip("seed"), bind="query-params", disabled=is_locked("seed")
    )
    recipes = st.multiselect(
        "Recipes",
        DUELLISTS,
        default=[key for key in FIRST if key in DUELLISTS],
        max_selections=MOST,
        key="duel_recipes",
        help=tip("duel_recipes"),
        bind="query-params",
    )
    if st.button("Start the duel", type="primary", key="duel_start", help=tip("duel_start"), disabled=not recipes):
        try:
            configs = [
                duellist(recipe, dataset.key, str(normal), float(lr), int(steps), int(seed))
                for recipe in recipes[:MOST]
            ]
            folders = [start(config) for config in configs]
        except PandaError as error:
            st.error(wording.sentence(str(error)), icon=":material/error:")
            return
        st.query_params[PARAMETER] = ",".join(folder.run_id for folder in folders)
        st.rerun()


def duellist(recipe: str, dataset: str, normal_class: str, lr: float, steps: int, seed: int) -> RunConfig:
    """Return the settings of one side: all are the same but the recipe, and what only one of them knows."""
    config = RunConfig(
        dataset=dataset,
        normal_class=normal_class,
        recipe=recipe,
        lr=lr,
        steps=steps,
        seed=seed,
        eval_every=max(1, steps // EVALUATIONS),
        **SHARED,
    )
    known = options_of(config)
    return config.replace(set={key: value for key, value in OPTIONS.items() if key in known})


def _race(folders: list[RunFolder], computing: bool) -> None:
    """Draw the race; look again while somebody computes."""
    if computing and all(folder.state().state in ENDED for folder in folders):
        st.rerun()  # the whole page, which no longer looks again
    try:
        show_duel([LoadedRun(folder) for folder in folders], key="duel")
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    st.caption(tip("duel"))


def _differences(folders: list[RunFolder]) -> None:
    rows = [row for folder in folders if not (row := row_of(folder)).problem]
    settings = differing_settings(rows) if len(rows) > 1 else []
    if settings:
        st.markdown("**Settings that differ**", help=tip("duel_settings"))
        frame = pd.DataFrame(settings)
        st.dataframe(frame, width="stretch", hide_index=True, key="duel-settings", alt="Settings that differ")
