"""Charts of sample-wise early stopping: which checkpoint each image chose, and why one image chose its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from panda_core.figures import style


def chosen_figure(steps: Sequence[int], chosen: np.ndarray, is_anomaly: np.ndarray) -> go.Figure:
    """Return the share of the test images of each kind that chose each checkpoint, in percent of the kind.

    steps: all that could be chosen; chosen: (M,) the step behind each image's score; is_anomaly: (M,).
    """
    figure, tallest = go.Figure(), 1.0
    for label, name, colour, pattern in ((0, "normal", style.NORMAL, ""), (1, "anomalous", style.ANOMALOUS, "/")):
        members = chosen[is_anomaly == label]
        if not len(members):
            continue
        shares = [100 * float((members == step).mean()) for step in steps]
        tallest = max(tallest, *shares)
        figure.add_bar(
            x=[str(step) for step in steps],
            y=shares,
            name=f"{name} ({len(members)})",
            marker={"color": colour, "pattern": style.hatched(pattern)},
            hovertemplate=f"step %{{x}}: %{{y:.1f}} % of the {name} images<extra></extra>",
        )
    style.layout(figure, height=260)
    figure.update_layout(barmode="group", hovermode="closest", bargap=0.25)
    figure.update_xaxes(title="step of the chosen checkpoint", type="category")
    figure.update_yaxes(title="share of the kind, %", range=[0, style.ceiling([tallest], room=1.05)], autorange=False)
    return figure


def normalised_figure(steps: Sequence[int], relative: Sequence[float], chosen: int | None, last_step: int) -> go.Figure:
    """Return one image's score at each checkpoint, divided by what a normal image scores there.

    relative: of each step; chosen: the step whose score counts, marked, or None.
    """
    figure = go.Figure(
        [style.line(steps, relative, name="this image", colour=style.RUNS[3], symbol="square", number=".3g")]
    )
    figure.add_hline(y=1, line={"color": style.TRAIN, "dash": "dot", "width": 1.5})
    if chosen is not None and chosen in steps:
        value = relative[list(steps).index(chosen)]
        ring = {"size": 16, "symbol": "circle-open", "color": style.ANOMALOUS, "line": {"width": 3}}
        figure.add_scatter(x=[chosen], y=[value], mode="markers", name="chosen", marker=ring, hoverinfo="skip")
    style.layout(figure, height=230)
    figure.update_xaxes(**style.step_axis(last_step))
    figure.update_yaxes(range=[0, style.ceiling([*relative, 1.2], room=1.05)], autorange=False)
    return figure
