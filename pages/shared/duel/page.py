"""The Race page: the same images, the same start, the same seed, and up to four recipes."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.shared.adapt.rivals import RACING
from pages.shared.duel.race import MOST, show_duel
from pages.shared.forms.presets import RACED, address_of
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, DUEL
from pages.shared.runs.choice import RACE, find_run, has_maps
from pages.shared.runs.table import Row, differing_settings, row_of, start_alike
from panda_core.errors import PandaError
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.loaded import LoadedRun

LOOK_EVERY = 1.0  # seconds
RECORDED = ("break-cifar10-ship", "ses-cifar10-ship", "ewc-cifar10-ship")
_MINE = "race_of_mine"  # in the session: ids of the runs of a race that was watched, as in an address
_ALIKE = "The same images, the same start, the same seed: which recipe gets farthest before it collapses?"
_OTHERS = "These runs differ in more than their recipe: in what, is said below."
FORMER = "duel_"  # of the query parameters of a form that stood here once


def show() -> None:
    """Draw the page."""
    st.title("Race")
    folders = chosen_runs(st.query_params.get(RACE, ""))
    own = bool(folders)
    if own:
        st.session_state[_MINE] = ",".join(folder.run_id for folder in folders)
    else:
        folders = [folder for run_id in RECORDED if (folder := find_run(run_id))]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(_ALIKE if start_alike(readable(folders)) else _OTHERS)
        st.page_link(
            ADAPT,
            label="Race recipes of your own",
            icon=":material/add:",
            query_params=_own_race(),
            help=tip("rivals"),
        )
        if not own and chosen_runs(mine := st.session_state.get(_MINE, "")):
            st.page_link(DUEL, label="Back to your race", icon=":material/undo:", query_params={RACE: mine})
    if not folders:
        return
    computing = any(folder.state().state not in ENDED for folder in folders)
    st.fragment(_race, run_every=LOOK_EVERY if computing else None)(folders, computing)
    if not own:
        st.caption("A recorded race: nothing held, sample-wise stopping, and elastic weights.")
    _differences(folders)


def chosen_runs(text: str) -> list[RunFolder]:
    """Return the runs of an address, at most four; ids of no run, or of one with maps, are passed over."""
    folders = [find_run(run_id) for run_id in dict.fromkeys(text.split(",")[:MOST]) if run_id]
    return [folder for folder in folders if folder is not None and not has_maps(folder)]


def _own_race() -> dict[str, str]:
    """Return the query of the Lab with a race set up; what an address of former times asked of a race is kept."""
    asked = {key.removeprefix(FORMER): value for key, value in st.query_params.items() if key.startswith(FORMER)}
    names = {"class": "normal_class"}
    query = address_of(RACED) | {names.get(key, key): value for key, value in asked.items() if key != "recipes"}
    recipes = [recipe for recipe in st.query_params.get_all(f"{FORMER}recipes") if recipe in RACING]
    if recipes:
        query |= {"recipe": recipes[0], "rivals": ",".join(recipes[1:])}
    return query


def _race(folders: list[RunFolder], computing: bool) -> None:
    """Draw the race; look again while somebody computes."""
    if computing and all(folder.state().state in ENDED for folder in folders):
        st.rerun()  # the whole page, which no longer looks again
    try:
        show_duel([LoadedRun(folder) for folder in folders], key="duel")
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return


def readable(folders: list[RunFolder]) -> list[Row]:
    """Return the rows of runs whose folders can be read."""
    return [row for folder in folders if not (row := row_of(folder)).problem]


def _differences(folders: list[RunFolder]) -> None:
    rows = readable(folders)
    settings = differing_settings(rows) if len(rows) > 1 else []
    if settings:
        st.markdown("**Settings that differ**", help=tip("duel_settings"))
        frame = pd.DataFrame(settings)
        st.dataframe(frame, width="stretch", hide_index=True, key="duel-settings", alt="Settings that differ")
