"""A run as an animated chart, from the arrays of all its steps."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.shared.charts import PLAIN
from pages.shared.glossary import tip
from pages.shared.run_choice import find_run
from panda_core.errors import PandaError
from panda_core.figures import Cloud, Curve, replay_figure
from panda_core.runs.loaded import LoadedRun

MOST_FRAMES = 40


def show_replay(run: LoadedRun, curve: Curve) -> None:
    """Draw a fold with the run's film in it; it is made when the fold is opened."""
    fold = st.expander("Replay this run", icon=":material/play_circle:", on_change="rerun", key="replay")
    if not fold.open:
        return
    with fold:
        st.caption(tip("replay"))
        try:
            figure = _figure(run.run_id, len(curve.steps), curve)
        except (PandaError, KeyError) as error:
            st.info(f"This run cannot be replayed: {error}")
            return
        st.plotly_chart(
            figure,
            width="stretch",
            key="replay-figure",
            config=PLAIN,
            alt=f"Film of the run in {len(figure.frames)} frames: features in two fixed directions, AUROC and ratios.",
        )


@st.cache_resource(max_entries=8, show_spinner=False)
def _figure(run_id: str, points: int, _curve: Curve) -> go.Figure:
    folder = find_run(run_id)
    if folder is None:
        raise PandaError("its folder is gone.")
    run = LoadedRun(folder)
    kept = thinned(points)
    curve = _curve.at(kept)
    clouds = []
    for step in curve.steps:
        arrays = run.arrays(step)
        clouds.append(Cloud(arrays["projection_train"].astype(float), arrays["projection_test"].astype(float)))
    return replay_figure(curve, clouds, np.array(run.split["is_anomaly"]))


def thinned(points: int) -> list[int]:
    """Return at most `MOST_FRAMES` places, evenly spaced, the first and the last among them."""
    return sorted({int(place) for place in np.linspace(0, points - 1, min(points, MOST_FRAMES)).round()})
