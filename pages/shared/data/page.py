"""The Data page: choose a data set, read what it is, look at some of its images, and have them checked."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared.data.health import show_health
from pages.shared.data.images import show_counts, show_images
from pages.shared.forms.choices import OWN_FOLDER, OWN_TITLE, choose_folder
from pages.shared.forms.named import choose_named
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT
from pages.shared.region.of_form import PARAMETER
from panda_core.config import default_data_root
from panda_core.datasets import DATASETS, Dataset
from panda_core.errors import PandaError


def show() -> None:
    """Draw the page."""
    st.title("Which images?")
    root = Path(default_data_root())
    choice, pictures = st.columns([1, 2.8], gap="large")
    with choice:
        dataset = _choose()
        if dataset is None:
            return
        missing = dataset.missing(root)
        name, seed = _choose_class(dataset, root) if missing is None else ("", 0)
        way = st.empty()
        _show_about(dataset, here=missing is None)
    if missing is not None:
        with pictures:
            _show_how_to_get(dataset, missing)
        return
    try:
        with pictures.container(key="pictures"):
            show_images(dataset, str(root), name, seed)
        with pictures:
            show_counts(dataset, str(root), name)
        region = show_health(dataset, str(root), name)
        with way:
            _show_way(dataset, name, seed, region)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _choose() -> Dataset | None:
    """Draw the choice among all data sets, and return the chosen one; None while a folder is not named."""
    names = {key: dataset.title for key, dataset in DATASETS.items()} | {OWN_FOLDER: OWN_TITLE}
    key = choose_named("Data set", names, "data_dataset", "digits", tip("data_dataset"))
    return choose_folder("data_folder") if key == OWN_FOLDER else DATASETS[key]


def _choose_class(dataset: Dataset, root: Path) -> tuple[str, int]:
    """Draw the choice of the normal class and of the seed, and return both."""
    classes = dataset.classes(root)
    left, right = st.columns([2, 1])
    name: str = left.selectbox("Normal class", classes, key="data_class", help=tip("class"), bind="query-params")
    seed = right.number_input(
        "Seed",
        min_value=0,
        max_value=2**31 - 1,
        value=0,
        step=1,
        key="data_seed",
        help=tip("seed"),
        bind="query-params",
    )
    return name, int(seed or 0)


def _show_way(dataset: Dataset, name: str, seed: int, region: str) -> None:
    """Draw the way to a run on what is chosen here; region: the file of the part that counts, "" for all."""
    own = dataset.key not in DATASETS
    settings = {"dataset": OWN_FOLDER, "folder": dataset.source} if own else {"dataset": dataset.key}
    settings |= {PARAMETER: Path(region).parent.name} if region else {}
    st.page_link(
        ADAPT,
        label="Adapt to this class",
        icon=":material/tune:",
        query_params={**settings, "normal_class": name, "seed": str(seed)},
    )


def _show_about(dataset: Dataset, *, here: bool) -> None:
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
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a name with a backtick of its own
        return wording.sentence(text)
    return "`".join(piece if index % 2 else wording.sentence(piece) for index, piece in enumerate(pieces))


def _show_how_to_get(dataset: Dataset, missing: str) -> None:
    """Draw what to fetch and where to put it, and the command that does both where there is one."""
    words = missing.replace("$", r"\$") if dataset.key in DATASETS else prose(missing)  # addresses become links
    st.info(words, icon=":material/download:")
    if dataset.download is not None:
        st.markdown("In a terminal, in the folder of this program:")
        st.code(f"python -m panda_core datasets --download {dataset.key}", language="bash")
