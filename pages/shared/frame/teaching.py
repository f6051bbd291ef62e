"""Teacher mode, by address alone: panels hidden, values locked, type enlarged, a bright page for a projector.

`?hide=ranking,spectrum&lock=lr,seed&large=yes`. What an address says holds for the session, on every page, until
another address says otherwise (`?hide=` shows everything again).
"""

from __future__ import annotations

import re

import streamlit as st

PANELS = (
    "numbers",
    "jumps",
    "embedding",
    "auroc",
    "meters",
    "histogram",
    "ratios",
    "spectrum",
    "ranking",
    "heatmap",
    "presets",
)
PARAMETERS = ("hide", "lock", "large")
# The smallest type of a page has 0.85 of this size: 22 pixels, to be read from the back of a room at 1920 x 1080.
TYPE = 26  # pixels
LARGE = f"html {{ font-size: {TYPE}px; }} .stMainBlockContainer {{ max-width: 1800px; }}"
_SETTINGS = "teaching"


def take_address() -> None:
    """Remember what the address says, and enlarge the type if it is to be. Called once for each page."""
    settings: dict[str, str] = dict(st.session_state.get(_SETTINGS, {}))
    settings |= {name: st.query_params[name] for name in PARAMETERS if name in st.query_params}
    st.session_state[_SETTINGS] = settings
    if is_large():
        st.html(f"<style>{LARGE}</style>")


def is_large() -> bool:
    """Return whether type and charts are enlarged."""
    return _setting("large") == "yes"


def hidden_panels() -> list[str]:
    """Return the panels that are hidden; names that mean nothing are passed over."""
    return [name for name in words_of(_setting("hide")) if name in PANELS]


def is_locked(key: str) -> bool:
    """Return whether the widget called `key` may not be changed."""
    names = words_of(_setting("lock"))
    return key in names or "all" in names


def words_of(text: str) -> list[str]:
    """Return the names in a list like `a,b`."""
    return re.findall(r"[a-z_]{1,40}", text[:400])


def _setting(name: str) -> str:
    settings: dict[str, str] = st.session_state.get(_SETTINGS, {})
    return str(settings.get(name, ""))
