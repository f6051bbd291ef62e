"""What a data set is: its words, its licence and citation, and how to get it where it is missing."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.datasets import DATASETS, Dataset


def show_about(dataset: Dataset, *, here: bool) -> None:
    """Draw the title, what may be done with the images, whom to cite and where they come from."""
    st.subheader(wording.sentence(dataset.title), anchor=False)
    with st.container(horizontal=True):
        if here:
            st.badge("on this machine", icon=":material/check_circle:", color="green", help=tip("data_here"))
        else:
            st.badge("to be fetched", icon=":material/download:", color="gray", help=tip("data_here"))
        if dataset.noncommercial:
            st.badge("non-commercial", icon=":material/money_off:", color="orange", help=tip("data_noncommercial"))
    st.markdown(prose(dataset.about))
    if dataset.key not in DATASETS:
        return
    st.markdown(f"**Licence.** {wording.sentence(dataset.licence)}")
    st.markdown(f"**Cite.** {wording.sentence(dataset.citation)}")
    address, _, rest = dataset.source.partition(" ")
    st.markdown(f"**Source.** <{address}> {wording.sentence(rest)}")  # in angles: an address may end in a full stop


def prose(text: str) -> str:
    """Return `text` safe to show as Markdown, what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a name with a backtick of its own
        return wording.sentence(text)
    return "`".join(part if place % 2 else wording.sentence(part) for place, part in enumerate(parts))


def show_how_to_get(dataset: Dataset, missing: str) -> None:
    """Draw what to fetch and where to put it, and the command that does both where there is one."""
    said = missing.replace("$", r"\$") if dataset.key in DATASETS else prose(missing)  # addresses become links
    st.info(said, icon=":material/download:")
    if dataset.download is not None:
        st.markdown("In a terminal, in the folder of this program:")
        st.code(f"python -m panda_core datasets --download {dataset.key}", language="bash")
