"""Choices that the address holds: what a page is to do, in its head; and those of addresses made by older versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st


def choose_section(title: str, sections: Sequence[str], key: str, about: str) -> str:
    """Draw a page's title, if it has one, and the choice of a section; return the chosen one, the first by default.

    key: of the choice, in the session and in the address; older addresses have sections without a capital. about: its
    tooltip. `go_to_section` switches it.
    """
    head = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    if title:
        head.title(title, width="content")
    asked = st.session_state.pop(_next(key), None)
    if asked is None and key not in st.session_state:
        asked = st.query_params.get(key, "").capitalize()
    if asked in sections:
        st.session_state[key] = asked
    elif st.session_state.get(key) not in sections:
        st.session_state.pop(key, None)  # of a view with more sections
    section = head.segmented_control(
        "What to do",
        sections,
        default=sections[0],
        key=key,
        help=about,
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    return section or sections[0]


def take_older_address(key: str, options: Iterable[str]) -> None:
    """Have a choice that the address names start there, where the address was made when names had no capital.

    Call it before the widget with this key, whose `format_func` is `str.capitalize`, is drawn.
    """
    asked = st.query_params.get(key, "")
    if key not in st.session_state and asked in options:
        st.session_state[key] = asked


def go_to_section(key: str, section: str) -> None:
    """Have the page show another section when it is drawn again: a widget that stands cannot be changed."""
    st.session_state[_next(key)] = section


def _next(key: str) -> str:
    return f"{key}_next"
