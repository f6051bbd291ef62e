"""The picture of a lesson: the cloud of features of a recorded run, which moves once from its start to a moment."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.lessons.content import Lesson
from pages.shared.lessons.recorded_numbers import at_moment
from pages.shared.runs.choice import find_run
from panda_core.errors import PandaError
from panda_core.figures import style
from panda_core.runs.loaded import LoadedRun

WIDE, HIGH = 280, 210  # of the picture, in its own units
MOST = 90  # points of a group
INSIDE = 0.94  # of the picture, for all but the points that lie farthest out at step 0
_DISC = "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0"
_MOVES = (
    "@keyframes go{from{transform:none}to{transform:translate(var(--x),var(--y))}}"
    ".p{transform:translate(var(--x),var(--y));animation:go 3s ease-in-out .6s 1 backwards}"
    "@media (prefers-reduced-motion:reduce){.p{animation:none}}"
)


def picture_of(lesson: Lesson) -> tuple[str, str] | None:
    """Return the picture of the first film in a lesson, as SVG, and what it shows in words; None where there is none.

    What lies at one place in two pictures lies at one distance: the scale is that of step 0.
    """
    run_id, moment, _ = next((step.shown for step in lesson.steps if step.shown is not None), ("", "", ()))
    folder = find_run(run_id)
    try:
        if folder is None:
            return None
        step = at_moment(LoadedRun(folder), moment).step
        return _drawn(run_id, step), f"Features at step {step} of the recorded run {run_id}"
    except (PandaError, KeyError, ValueError):
        return None


@st.cache_data(max_entries=32, show_spinner=False)
def _drawn(run_id: str, step: int) -> str:
    folder = find_run(run_id)
    if folder is None:
        raise PandaError("The recorded run is not here.")
    run = LoadedRun(folder)
    is_anomaly = np.array(run.split.is_anomaly, bool)
    first, then = run.adapt_arrays(run.evaluated[0].step), run.adapt_arrays(step)
    radius = float(np.sqrt(np.square(first.projection_train).sum(axis=1).mean()))
    points = np.concatenate([first.projection_train, first.projection_test])
    low = np.minimum(np.quantile(points, 0.01, axis=0), -radius)
    high = np.maximum(np.quantile(points, 0.99, axis=0), radius)
    unit = INSIDE * float(np.min((WIDE, HIGH) / np.maximum(high - low, 1e-9)))
    middle = unit * (low + high) / 2
    groups = (  # in the shapes and colours of the film
        (first.projection_train, then.projection_train, style.TRAIN, "M0-4.2 3.8 3-3.8 3z"),
        (first.projection_test[~is_anomaly], then.projection_test[~is_anomaly], style.NORMAL, _DISC),
        (first.projection_test[is_anomaly], then.projection_test[is_anomaly], style.ANOMALOUS, "M-3-3h6v6h-6z"),
    )
    marks = "".join(
        _marks(start * unit - middle, end * unit - middle, colour, shape) for start, end, colour, shape in groups
    )
    ring = (
        f'<circle cx="{WIDE / 2 - middle[0]:.1f}" cy="{HIGH / 2 + middle[1]:.1f}" r="{unit * radius:.1f}" fill="none" '
        f'stroke="{style.MARK}"/>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}">'
        f"<style>{_MOVES}</style>{ring}{marks}</svg>"
    )


def _marks(start: np.ndarray, end: np.ndarray, colour: str, shape: str) -> str:
    """Return a mark for some of the points (N, 2), which moves from `start` to `end`."""
    rows = np.linspace(0, len(start) - 1, min(MOST, len(start))).astype(int)
    return "".join(
        f'<g transform="translate({WIDE / 2 + x:.1f} {HIGH / 2 - y:.1f})"><path class="p" '
        f'style="--x:{to_x - x:.1f}px;--y:{y - to_y:.1f}px" d="{shape}" fill="{colour}" opacity=".75"/></g>'
        for (x, y), (to_x, to_y) in zip(start[rows], end[rows], strict=True)
    )
