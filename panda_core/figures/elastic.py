"""Charts of elastic weights: runs of every strength in one chart, and what each layer is worth and how far it moved."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from panda_core.figures import style
from panda_core.figures.curve import Curve, Numbers
from panda_core.figures.curves import auroc_range

# Name, values, colour and pattern of one group of bars.
_Bars = tuple[str, Sequence[float | None], str, str]


def strengths_figure(curves: Sequence[Curve], chosen: int, measure: str) -> go.Figure:
    """Return the curves of runs that differ in their strength alone, the chosen one in front.

    chosen: its place among `curves`. measure: "auroc", or "ratio" for the distance of anomalies to the center,
    divided by that of the training images.
    """
    figure = go.Figure()
    for place, curve in enumerate(curves):
        if place != chosen:
            figure.add_scatter(
                x=curve.steps,
                y=_measured(curve, measure),
                mode="lines",
                name=curve.label,
                line={"color": style.MARK, "width": 1.4, "dash": style.RUN_DASHES[place % 4]},
                hovertemplate="%{y:.3f}",
            )
    front = curves[chosen]
    shown = _measured(front, measure)
    figure.add_trace(style.line(front.steps, shown, name=front.label, colour=style.ANOMALOUS, symbol="square"))
    style.layout(figure, height=300)
    figure.update_xaxes(**style.step_axis(max(curve.last_step for curve in curves)))
    ratios = [value for curve in curves for value in curve.anomalous_ratio]
    span = auroc_range(list(curves)) if measure == "auroc" else [0, style.ceiling([*ratios, 1.2], room=1.05)]
    figure.update_yaxes(range=span, autorange=False)
    style.add_unadapted(figure)
    style.name_lines(figure)
    return figure


def _measured(curve: Curve, measure: str) -> Numbers:
    return curve.auroc if measure == "auroc" else curve.anomalous_ratio


def fisher_figure(names: Sequence[str], mass: Sequence[float | None]) -> go.Figure:
    """Return the share of the Fisher information in each layer, in percent; the first layer on top."""
    values = [None if value is None else 100 * value for value in mass]
    return _bars(names, [("Fisher information", values, style.TRAIN, "")], "share of the Fisher information, %")


def moved_figure(names: Sequence[str], free: Sequence[float | None], held: Sequence[float | None]) -> go.Figure:
    """Return how far each layer moved, in percent of its size: in this run, and with nothing holding it if known."""
    bars = [("this run", held, style.ANOMALOUS, "/")]
    if any(value is not None for value in free):
        bars.append(("strength 0", free, style.MARK, ""))
    shown = [
        (name, [None if value is None else 100 * value for value in row], colour, pattern)
        for name, row, colour, pattern in bars
    ]
    return _bars(names, shown, "moved, % of the weights' size")


def _bars(names: Sequence[str], rows: Sequence[_Bars], title: str) -> go.Figure:
    figure = go.Figure()
    taken = -1  # the bar of the group before that bears its name: names of bars side by side would meet
    for name, values, colour, pattern in rows:
        known = {place: value for place, value in enumerate(values) if value is not None}
        free = {place: value for place, value in known.items() if place != taken} or known
        taken = max(free, key=free.__getitem__, default=-1)
        figure.add_bar(
            text=[name if len(rows) > 1 and place == taken else "" for place in range(len(names))],
            textposition="outside",
            constraintext="none",
            cliponaxis=False,
            x=values,
            y=list(names),
            orientation="h",
            name=name,
            marker={"color": colour, "pattern": style.hatched(pattern)},
            hovertemplate=f"%{{y}}: %{{x:.3g}} %, {name}<extra></extra>",
        )
    highest = [value for _, values, _, _ in rows for value in values if value is not None]
    style.layout(figure, height=90 + 26 * len(names))
    figure.update_layout(barmode="group", hovermode="closest", bargap=0.25, margin={"l": 78})
    figure.update_xaxes(
        title=title, range=[0, style.ceiling(highest, room=1.02 if len(rows) < 2 else 1.3)], autorange=False
    )
    figure.update_yaxes(autorange="reversed", type="category", gridcolor=style.CLEAR)
    return figure
