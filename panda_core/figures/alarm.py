"""The chart of the label-free alarm: what it watches, and where it fired."""

from __future__ import annotations

import plotly.graph_objects as go

from panda_core.figures import style
from panda_core.figures.curve import Curve


def alarm_figure(curve: Curve, *, kept: float, fired: int | None) -> go.Figure:
    """Return how much of the neighbourhoods of step 0 is left over steps, in percent.

    kept: the overlap below which the alarm fires. fired: the place of the curve where it did, or None.
    """
    shares = [None if share is None else 100 * share for share in curve.neighbour_overlap]
    figure = go.Figure(
        [style.line(curve.steps, shares, name="neighbours kept", colour=style.RUNS[3], symbol="square", number=".0f")]
    )
    figure.add_hline(y=100 * kept, line={"color": style.MARK, "dash": "dot", "width": 1.5})
    if fired is not None:
        style.add_mark(figure, curve.steps[fired], "alarm", "dash", 0.86, curve.last_step)
    style.layout(figure, height=260, legend=False)
    figure.update_xaxes(**style.step_axis(curve.last_step))
    figure.update_yaxes(title="neighbours kept, %", range=[0, 105], autorange=False)
    style.add_unadapted(figure)
    return figure
