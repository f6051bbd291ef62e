"""Choices that are read by name and addressed by key: "Early stopping" on the page, `panda-early` in the address.

A widget that is bound to the address would put the name there. These keep the key in step with it.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from pages.shared.frame.teaching import is_locked


def choose_named(label: str, names: Mapping[str, str], key: str, first: str, about: str) -> str:
    """Draw the choice of one of `names` (key -> name), and return its key; what an address asks for comes first.

    key: of the widget, and the query parameter, which is left out while `first` is chosen. about: the tooltip.
    """
    if st.session_state.get(key) not in names:
        asked = st.query_params.get(key, "")
        st.session_state[key] = asked if asked in names else first
    chosen: str = st.selectbox(
        label, list(names), format_func=names.__getitem__, key=key, help=about, disabled=is_locked(key)
    )
    address(key, "" if chosen == first else chosen)
    return chosen


def choose_several(label: str, names: Mapping[str, str], key: str, most: int, about: str, empty: str) -> list[str]:
    """Draw the choice of up to `most` of `names` (key -> name), and return their keys. empty: what is said of none."""
    if key not in st.session_state:
        st.session_state[key] = [asked for asked in st.query_params.get(key, "").split(",") if asked in names][:most]
    st.session_state[key] = [chosen for chosen in st.session_state[key] if chosen in names]
    chosen = st.multiselect(
        label,
        list(names),
        max_selections=most,
        format_func=names.__getitem__,
        key=key,
        help=about,
        placeholder=empty,
        disabled=is_locked(key),
        wrap=True,
        select_all=False,
    )
    address(key, ",".join(chosen))
    return list(chosen)


def address(name: str, value: str) -> None:
    """Put a value into the address, or take it out where there is none."""
    if not value:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value
