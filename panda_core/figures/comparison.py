"""Several runs in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from panda_core.errors import UsageError
from panda_core.figures import style
from panda_core.figures.curve import Curve
from panda_core.figures.curves import auroc_range

MOST_RUNS = len(style.RUNS)


def compare_figure(curves: Sequence[Curve], what: Literal["auroc", "ratio"]) -> go.Figure:
    """Return up to four runs' AUROC, or ratio of anomalous to training distance, over steps.

    The place of a run in `curves` decides its colour, dash and marker, in both charts alike.
    """
    if len(curves) > MOST_RUNS:
        raise UsageError(f"At most {MOST_RUNS} runs can be compared at once; got {len(curves)}. Choose fewer.")
    figure = go.Figure()
    for place, curve in enumerate(curves):
        figure.add_trace(
            style.line(
                curve.steps,
                curve.auroc if what == "auroc" else curve.anomalous_ratio,
                name=curve.label,
                colour=style.RUNS[place],
                dash=style.RUN_DASHES[place],
                symbol=style.RUN_SYMBOLS[place],
                number=".3f" if what == "auroc" else ".2f",
            )
        )
    style.layout(figure, height=320)
    figure.update_xaxes(**style.step_axis(max((curve.last_step for curve in curves), default=1)))
    if what == "auroc":
        figure.update_yaxes(title="AUROC", range=auroc_range(list(curves)), autorange=False)
    else:
        top = max((style.ceiling(curve.anomalous_ratio) for curve in curves), default=1.0)
        figure.update_yaxes(title="anomalous distance, training = 1", range=[0, top], autorange=False)
    if any(curve.steps for curve in curves):
        style.add_unadapted(figure)
    return figure
