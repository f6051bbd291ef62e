"""The four steps of the Inspect page: where somebody is, and the way back."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import IMAGE, PARAMETER, UPLOAD

STAGE = "stage"  # query parameter: the step that somebody went back to; else what is there decides
CHECK = "check"  # query parameter: which look at new photos
VIEW = "own_view"  # query parameter, and key of the choice: what of a detector is looked at
LEARNED = "Photos it knows"  # the first of these
DROP, LOOK, LEARN, RESULTS = STEPS = ("drop", "look", "learn", "results")
_NAMES = {DROP: "1 Drop", LOOK: "2 Check", LEARN: "3 Learn", RESULTS: "4 Results"}


def show_steps(place: DeltaGenerator, current: str, reachable: set[str]) -> None:
    """Draw the steps; those that are reachable can be gone to."""
    with place.container(horizontal=True, gap="xsmall", width="content", key="steps"):
        for step in STEPS:
            st.button(
                _NAMES[step],
                key=f"step-{step}",
                type="primary" if step == current else "secondary",
                disabled=step not in reachable and step != current,
                help=tip(f"step_{step}"),
                on_click=_go,
                args=(step,),
            )


def _go(step: str) -> None:
    if step == DROP:
        begin_anew()
    elif step == LOOK:
        st.query_params[STAGE] = LOOK
    else:
        st.query_params.pop(STAGE, None)


def begin_anew() -> None:
    """Leave this run and these images; for buttons."""
    for name in (PARAMETER, UPLOAD, CHECK, IMAGE, STAGE):
        st.query_params.pop(name, None)
