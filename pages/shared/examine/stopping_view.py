"""Sample-wise stopping made visible: which checkpoint each image chose, and one image's scores over all of them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import find_run
from panda_core.errors import BrokenRun, PandaError
from panda_core.figures import chosen_figure, normalised_figure
from panda_core.methods.stopping import SMALLEST_SPREAD, used_checkpoints
from panda_core.methods.table import find_recipe
from panda_core.runs.loaded import LoadedRun


def stops_by_sample(run: LoadedRun) -> bool:
    """Return whether each image of a run chooses a checkpoint of its own."""
    try:
        return find_recipe(run.config.recipe).stop == "ses"
    except PandaError:
        return False


def show_chosen(run: LoadedRun) -> None:
    """Draw how many images chose each checkpoint; nothing for a run without sample-wise stopping or not finished."""
    if not stops_by_sample(run) or not run.folder.arrays_file("final").is_file():
        return
    chosen = run.final().step
    used = _used(run)
    is_anomaly = np.asarray(run.split.is_anomaly, int)
    st.markdown("**Which checkpoint each test image chose**", help=tip("ses_chosen"))
    show_figure(
        chosen_figure(used, chosen, is_anomaly),
        key="ses-chosen",
        alt=f"Histogram of the checkpoints chosen by {len(chosen)} test images; their median is step "
        f"{wording.step(float(np.median(chosen)) if len(chosen) else None)}.",
    )


def show_over_checkpoints(run: LoadedRun, image: int) -> None:
    """Draw an image's score at each checkpoint, divided by what a normal image scores there."""
    if len(run.evaluated) < 2:
        return
    try:
        steps, table = relative_scores(run.run_id, len(run.evaluated))
    except PandaError:
        return
    relative = [float(value) if np.isfinite(value) else None for value in table[:, image]]
    chosen = None
    if stops_by_sample(run):
        used = [index for index, step in enumerate(steps) if step in _used(run) and relative[index] is not None]
        chosen = steps[max(used, key=lambda index: relative[index] or 0.0)]
    st.markdown("**Its score at each checkpoint**, normal images = 1", help=tip("ses_image"))
    marked = "" if chosen is None else f", the largest of those that may be chosen at step {chosen}, which is marked"
    show_figure(
        normalised_figure(steps, relative, chosen, steps[-1]),
        key="ses-image",
        alt=f"Score of this image from step {steps[0]} to step {steps[-1]}, divided by what a normal image scores: "
        f"{wording.amount(relative[0])} to {wording.amount(relative[-1])}{marked}.",
    )


@st.cache_resource(max_entries=16, show_spinner=False)
def relative_scores(run_id: str, points: int) -> tuple[list[int], np.ndarray]:
    """Return the measured steps and (T, M) scores, each row divided by the run's own normaliser of that step.

    A step whose features have shrunk to a point says nothing about any image: its row is not a number, and a gap.
    """
    folder = find_run(run_id)
    if folder is None:
        raise BrokenRun("The folder of this run is gone.")
    run = LoadedRun(folder)
    steps = [event.step for event in run.evaluated][:points]
    arrays = [run.arrays(step) for step in steps]
    scores = np.stack([at_step.scores for at_step in arrays]).astype(np.float64)
    normalisers = np.array([float(at_step.normaliser) for at_step in arrays])
    usable = normalisers > SMALLEST_SPREAD * max(float(normalisers.max()), 1e-30)
    return steps, np.where(usable[:, None], scores / np.where(usable, normalisers, 1.0)[:, None], np.nan)


def _used(run: LoadedRun) -> list[int]:
    """Return the steps among which an image may choose."""
    return [event.step for event in used_checkpoints(run.evaluated, "ses", run.config.set.get("ses_start"))]
