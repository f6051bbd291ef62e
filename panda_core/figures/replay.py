"""A whole run as one animated chart: scrubbing happens in the browser, with nothing to ask a server for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from panda_core.errors import UsageError
from panda_core.figures import style
from panda_core.figures.curve import Curve
from panda_core.figures.curves import auroc_range

POINTS = 300  # most points of a cloud: what is enough to see its shape
MILLISECONDS = 450  # a frame


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Features of one step in two fixed directions, the centre at (0, 0): train (N, 2), test (M, 2)."""

    train: np.ndarray
    test: np.ndarray


def replay_figure(curve: Curve, clouds: Sequence[Cloud], is_anomaly: np.ndarray) -> go.Figure:
    """Return the run as frames: the cloud of features, AUROC and ratios up to each step, a slider, play and pause.

    clouds: one for each step of `curve`. The two directions and all axes are those of the unadapted network, for
    the whole run: refitted at every step they would turn and stretch by themselves, and hide a collapse.
    """
    if len(clouds) != len(curve.steps) or not clouds:
        raise UsageError(f"A replay needs a cloud for each step; got {len(clouds)} for {len(curve.steps)} steps.")
    rows = _thinned(is_anomaly)
    figure = make_subplots(rows=3, cols=1, row_heights=[0.56, 0.22, 0.22], vertical_spacing=0.085)
    first = _traces(curve, clouds[0], 1, rows)
    for trace, row in zip(first, (1, 1, 1, 1, 2, 3, 3), strict=True):
        figure.add_trace(trace, row=row, col=1)
    figure.frames = [
        go.Frame(name=str(step), data=_traces(curve, clouds[place], place + 1, rows), traces=list(range(len(first))))
        for place, step in enumerate(curve.steps)
    ]
    style.layout(figure, height=780)
    reach = style.ceiling([float(np.abs(np.concatenate([clouds[0].train, clouds[0].test])).max())], room=1.05)
    span = [-reach, reach]
    figure.update_xaxes(range=span, autorange=False, showticklabels=False, constrain="domain", row=1, col=1)
    square = {"scaleanchor": "x", "constrain": "domain"}
    figure.update_yaxes(range=span, autorange=False, showticklabels=False, row=1, col=1, **square)
    for row in (2, 3):
        figure.update_xaxes(**{**style.step_axis(curve.last_step), "title": None}, row=row, col=1)
        style.add_unadapted(figure, xref=f"x{row}", yref=f"y{row} domain")
    figure.update_yaxes(title="AUROC", range=auroc_range([curve]), autorange=False, row=2, col=1)
    top = style.ceiling([*curve.anomalous_ratio, *curve.normal_ratio, 1.2])
    figure.update_yaxes(title="train = 1", range=[0, top], autorange=False, row=3, col=1)
    figure.update_layout(
        hovermode="closest",
        margin={"l": 48, "r": 12, "t": 34, "b": 150},
        updatemenus=[_buttons()],
        sliders=[_slider(curve.steps)],
    )
    return figure


def _thinned(is_anomaly: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of normal and of anomalous test images that are drawn: evenly spaced, the same in every frame."""
    normal, anomalous = (
        rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), POINTS).astype(int))] if len(rows) else rows
        for rows in (np.nonzero(is_anomaly == label)[0] for label in (0, 1))
    )
    return normal, anomalous


def _traces(curve: Curve, cloud: Cloud, known: int, rows: tuple[np.ndarray, np.ndarray]) -> list[Any]:
    """Return what is drawn once `known` steps have been evaluated."""
    normal, anomalous = rows
    steps = curve.steps[:known]
    centre = go.Scatter(
        x=[0],
        y=[0],
        mode="markers",
        name="centre",
        marker={"symbol": "cross-thin", "size": 14, "line": {"width": 2, "color": style.MARK}},
        hoverinfo="skip",
    )
    return [
        _dots(cloud.test[anomalous], "anomalous test", style.ANOMALOUS, "square"),
        _dots(cloud.test[normal], "normal test", style.NORMAL, "circle"),
        _dots(cloud.train[:POINTS], "training", style.TRAIN, "triangle-up"),
        centre,
        _hidden(style.line(steps, curve.auroc[:known], name="AUROC", colour=style.NORMAL)),
        _hidden(
            style.line(
                steps,
                curve.anomalous_ratio[:known],
                name="anomalous ratio",
                colour=style.ANOMALOUS,
                dash="dash",
                symbol="square",
                number=".2f",
            )
        ),
        _hidden(style.line(steps, curve.normal_ratio[:known], name="normal ratio", colour=style.NORMAL, number=".2f")),
    ]


def _dots(points: np.ndarray, name: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=np.round(points[:, 0], 4).tolist(),
        y=np.round(points[:, 1], 4).tolist(),
        name=name,
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.65},
        hoverinfo="skip",
    )


def _hidden(trace: go.Scatter) -> go.Scatter:
    """Return a line of the lower charts: named at its axis, so left out of the legend."""
    return trace.update(showlegend=False)


def _buttons() -> dict[str, Any]:
    play = {"frame": {"duration": MILLISECONDS, "redraw": False}, "fromcurrent": True, "transition": {"duration": 250}}
    pause = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate", "transition": {"duration": 0}}
    return {
        "type": "buttons",
        "direction": "right",
        "x": 0,
        "y": -0.17,
        "xanchor": "left",
        "yanchor": "top",
        "showactive": False,
        "bgcolor": "rgba(138, 151, 163, 0.25)",
        "bordercolor": style.MARK,
        "pad": {"t": 0, "r": 8},
        "buttons": [
            {"label": "Play", "method": "animate", "args": [None, play]},
            {"label": "Pause", "method": "animate", "args": [[None], pause]},
        ],
    }


def _slider(steps: Sequence[int]) -> dict[str, Any]:
    jump = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate", "transition": {"duration": 0}}
    return {
        "x": 0,
        "y": -0.03,
        "len": 1.0,
        "pad": {"t": 4, "b": 4},
        "currentvalue": {"prefix": "step ", "font": {"size": 13}},
        "ticklen": 3,
        "font": {"size": 10},
        "steps": [{"label": str(step), "method": "animate", "args": [[str(step)], jump]} for step in steps],
    }
