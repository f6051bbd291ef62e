"""Deleting everything of one person: photos, their names, what was learned from them, and what was judged with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.own.steps import begin_anew
from panda_core.errors import PandaError
from panda_core.runs.uploads import delete_check, delete_everything

MESSAGE, DONE = "own_message", "own_done"  # in the session: what to say at the top of the next page


def show_removal(token: str | None, checks: Iterable[Path] = ()) -> None:
    """Draw the button that deletes an upload and all that hangs on it, and looks at photos with others' detectors."""
    with st.popover("Delete everything of mine", icon=":material/delete:", help=tip("own_delete")):
        st.markdown(
            "Removes your photos, their names, everything learned from them and every photo that was judged: for good, "
            "from the disk of this machine."
        )
        st.button(
            "Delete everything",
            key="own-delete",
            type="primary",
            help=tip("own_delete"),
            on_click=_delete,
            args=(token, tuple(checks)),
        )


def _delete(token: str | None, checks: tuple[Path, ...]) -> None:
    try:
        for output in checks:
            if output.is_dir():
                delete_check(output)
        if token is not None:
            delete_everything(token)
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    begin_anew()
    st.session_state[DONE] = "Everything of yours is deleted: photos, names, detectors, results."
