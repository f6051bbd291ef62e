"""The Glossary page: all words, or those that somebody looks for, beside the film in which they are seen."""

from __future__ import annotations

import contextlib

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.frame.words import WORDS
from pages.shared.player.time_machine import show_time_machine
from pages.shared.runs.choice import find_run
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

FILM = "break-cifar10-ship"
HIDDEN = ("heatmap", "ranking", "spectrum")  # panels whose words are few


def show() -> None:
    """Draw the page."""
    st.title("Glossary")
    words, figure = st.columns([1, 2.6], gap="medium")
    with words:
        asked = st.text_input("Look for", key="word", placeholder="collapse", help=tip("word"), bind="query-params")
        found = matching(asked)
        if not found:
            st.info("No word here is about that. Try a shorter one.", icon=":material/search_off:")
        for word in found:
            st.markdown(f"**{word}.** {WORDS[word]}")
    with figure.container(key="figure"):  # stays beside the words: see look.css
        _figure()


def _figure() -> None:
    """Draw what most words are about: a recorded film of a collapse, to move."""
    folder = find_run(FILM)
    if folder is None:
        return
    with contextlib.suppress(PandaError):  # a damaged recording: Watch says so
        show_time_machine(LoadedRun(folder), key="glossary", plays=False, hidden=HIDDEN)


def matching(asked: str) -> list[str]:
    """Return the words that hold what was asked for, those in whose meaning alone it stands last."""
    wanted = asked.strip().lower()
    named = [word for word in WORDS if wanted in word.lower()]
    return named + [word for word in WORDS if word not in named and wanted in WORDS[word].lower()]
