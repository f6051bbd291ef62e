"""The settings of one run: all of them, the same run as code, what it ran on, and a way to run it again with others."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.adapt.form_values import AUTOMATIC, values_of
from pages.shared.forms.starting import show_as_code
from pages.shared.frame import wording
from pages.shared.frame.glossary import TERMS, tip
from pages.shared.frame.router import ADAPT, RUNS
from pages.shared.frame.thumbnails import embedded
from pages.shared.region.of_form import PARAMETER
from pages.shared.run.heading import show_heading
from pages.shared.runs.choice import opened_run
from pages.shared.runs.downloads import can_score, download_detector, zipped
from panda_core.config import RunConfig
from panda_core.datasets.io.regions import read_region
from panda_core.errors import PandaError
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.kinds import options_of
from panda_core.runs.loaded import LoadedRun

ELSEWHERE = {"normal_class": "class", "roi": "own_region"}  # the terms of fields that are called otherwise there
WIDTHS = (130, 190, 860)  # pixels of the columns: the last holds sentences
REGION = 240  # pixels of the longer side of a region's picture
HERE_ALONE = ("name", "runs_dir", "data_root", "set")  # fields that are no settings of the method


def show() -> None:
    """Draw the page."""
    folder = opened_run()
    if folder is None:
        st.title("Settings of a run")
        st.page_link(RUNS, label="Choose a run", icon=":material/list:")
        return
    try:
        show_heading(folder)
        _show(LoadedRun(folder))
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _show(run: LoadedRun) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.kind.key == "adapt":
            st.page_link(
                ADAPT,
                label="Run it again with other settings",
                icon=":material/tune:",
                query_params=address_of_run(run.config) | ({PARAMETER: run.run_id} if run.config.roi else {}),
                help=tip("again"),
            )
        _download(run.folder)
        if can_score(run.folder) and run.folder.state().state in ENDED:
            download_detector(run.folder)
    st.subheader("What was set", anchor=False)
    frame = pd.DataFrame(settings_of(run.config), columns=["Setting", "Value", "What it is"])
    widths = {name: st.column_config.Column(width=wide) for name, wide in zip(frame.columns, WIDTHS, strict=True)}
    st.dataframe(  # as wide as the page, or what a setting is would be cut
        frame,
        hide_index=True,
        width="stretch",
        height="content",
        column_config=widths,
        key="settings",
        alt="All settings of this run, and what each is",
    )
    if run.config.roi:
        _region(run.config)
    st.subheader("The same run elsewhere", anchor=False)
    show_as_code(run.config)
    st.markdown(f"Id: {wording.sentence(run.run_id)}")


def _region(config: RunConfig) -> None:
    """Draw the region of interest of a run."""
    region = read_region(config.roi)
    high, wide = region.shape
    scale = min(1.0, REGION / max(region.shape))
    shown = region.inside((max(1, round(high * scale)), max(1, round(wide * scale))))
    st.image(
        embedded(np.where(shown, 255, 40).astype(np.uint8)),
        width=REGION,
        caption=f"Region of interest, {wide} x {high} pixels: white counts.",
        alt="The region of interest: white counts",
    )


def settings_of(config: RunConfig) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each field and option of a run, those that are not set left out."""
    record = config.to_json()
    fields = {key: value for key, value in record.items() if key not in HERE_ALONE}
    fields["recipe"] = wording.recipe(config.recipe)
    if config.roi:
        fields["roi"] = wording.counting(read_region(config.roi).marked.mean())
    shown = {**fields, **record["set"]}
    meant = _meanings(config)
    return [
        (wording.setting(key), _value(value), meant.get(key, ""))
        for key, value in shown.items()
        if value not in (None, "")
    ]


def _meanings(config: RunConfig) -> dict[str, str]:
    """Return what each field and option of a run is, in the first sentence of its help, without marks."""
    told = {key: TERMS[ELSEWHERE.get(key, key)] for key in config.to_json() if ELSEWHERE.get(key, key) in TERMS}
    with contextlib.suppress(PandaError):  # a recipe of a version to come
        told |= {key: option.plain for key, option in options_of(config).items()}
    return {key: re.sub(r"[*`]", "", text).partition(". ")[0].rstrip(".") for key, text in told.items()}


def _value(value: object) -> str:
    return wording.amount(value) if isinstance(value, float) else str(value)


def address_of_run(config: RunConfig) -> dict[str, str]:
    """Return the query of the Lab that fills its form with the settings of a run; what is automatic is left out."""
    values = {key: value for key, value in values_of(config).items() if value not in (None, "", AUTOMATIC)}
    return {key: repr(value) if isinstance(value, float) else str(value) for key, value in values.items()}


def _download(folder: RunFolder) -> None:
    st.download_button(
        "Download run",
        data=lambda: zipped(folder),
        file_name=f"{folder.run_id}.zip",
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
        key=f"download-{folder.run_id}",
        help=tip("download"),
    )
