"""The images behind a run's scores, where its data is still on this machine."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.frame.thumbnails import square
from pages.shared.runs.choice import find_run
from panda_core.datasets import Images
from panda_core.errors import PandaError, UnreadableImage
from panda_core.figures.heatmaps import faded
from panda_core.region import Region
from panda_core.runs.loaded import LoadedRun


def find_images(run: LoadedRun, split: str) -> tuple[Images | None, str]:
    """Return the images of "train" or "test" in the order of the run's arrays, or None and the reason."""
    try:
        return _open(run.run_id, split), ""
    except (PandaError, ValueError, IndexError) as error:
        return None, f"The images of this run cannot be shown, its numbers can. {error}"


def tile(run: LoadedRun, split: str, row: int, side: int) -> np.ndarray | None:
    """Return an image as an RGBA square, or None if it cannot be read."""
    return _tile(run.run_id, split, row, side)


@st.cache_resource(max_entries=4, show_spinner=False)
def _open(run_id: str, split: str) -> Images:
    folder = find_run(run_id)
    if folder is None:
        raise PandaError("The run is gone.")
    return LoadedRun(folder).images(split)


@st.cache_resource(max_entries=8, show_spinner=False)
def _region(run_id: str) -> Region | None:
    folder = find_run(run_id)
    return None if folder is None else LoadedRun(folder).region


@st.cache_data(max_entries=512, show_spinner=False)
def _tile(run_id: str, split: str, row: int, side: int) -> np.ndarray | None:
    try:
        image, region = _open(run_id, split).load(row), _region(run_id)
        return square(image if region is None else faded(image, region.inside((image.shape[0], image.shape[1]))), side)
    except UnreadableImage:
        return None
