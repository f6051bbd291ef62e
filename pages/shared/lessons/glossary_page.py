"""The Glossary page: all words, or those that somebody looks for."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.frame.words import WORDS


def show() -> None:
    """Draw the page."""
    st.title("Glossary")
    asked = st.text_input(
        "Look for", key="word", placeholder="collapse", help=tip("word"), bind="query-params", width=360
    )
    found = matching(asked)
    if not found:
        st.info("No word here is about that. Try a shorter one.", icon=":material/search_off:")
        return
    with st.grid(2, min_column_width=320, gap="medium"):
        for word in found:
            st.markdown(f"**{word}.** {WORDS[word]}")


def matching(asked: str) -> list[str]:
    """Return the words that hold what was asked for, those in whose meaning alone it stands last."""
    wanted = asked.strip().lower()
    named = [word for word in WORDS if wanted in word.lower()]
    return named + [word for word in WORDS if word not in named and wanted in WORDS[word].lower()]
