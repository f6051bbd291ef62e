"""The good photos that look least like the others: a bad one among them hides others of its kind."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.gallery.tiles import SIDE, Tile, show_tiles
from pages.shared.own.learned import final_scores, show_correction
from pages.shared.own.look import pictures_of
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.uploads import Upload

SHOWN = 4
FEWEST = 6  # photos; of fewer, each looks unlike the others
CHOSEN = "own-doubtful-chosen"  # in the session: which of them


def show_doubtful(run: LoadedRun, upload: Upload, rate: float) -> None:
    """Draw those of the good photos that score highest, and the button that calls one bad.

    Of those that set the threshold: each was compared with others alone, so that its score says how unlike them it is.
    """
    held_out = np.asarray(run.split.held_out, int)
    if len(held_out) < FEWEST:
        return
    scores = np.asarray(run.final().held_out_scores, np.float64)  # (H,), in the order of `held_out`
    order = np.argsort(-scores, kind="stable")[:SHOWN]
    names, unit = upload.names(), final_scores(run, rate).unit
    places = [run.split.train[held_out[row]] for row in order]
    if any(place not in names for place in places):  # corrected since: learning again is under way
        return
    st.subheader("Good photos that look least like the others", anchor=False, help=tip("own_doubtful"))
    st.caption(f"Of the {len(held_out)} that set the threshold, with their scores.")
    chosen = min(int(st.session_state.get(CHOSEN, 0)), len(places) - 1)
    show_tiles(
        [
            Tile(number, picture, name=names[place], note=wording.amount(scores[row] / unit))
            for number, (row, place, picture) in enumerate(
                zip(order, places, pictures_of(upload, places, SIDE), strict=True)
            )
        ],
        key=f"own-doubtful-{run.run_id}",
        label="Good photos, the least like the others first",
        on_click=_choose,
        chosen=chosen,
    )
    show_correction(run, upload, places[chosen], key="own-doubt")


def _choose(number: int) -> None:
    st.session_state[CHOSEN] = number
