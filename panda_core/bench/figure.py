"""The charts of a grid: each row's mean with its interval, and the published figure as a diamond."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go

from panda_core.bench.summary import Result
from panda_core.figures import style

ROW = 34  # pixels: two lines of a name
WIDEST = 26  # letters of a line, so that a chart on a phone has room for its points


def means_figure(lines: Sequence[Result]) -> go.Figure:
    """Return the means of a table's lines on one data set, in percent; lines without a value keep their place."""
    names = [_name(line) for line in lines]
    measured = [line for line in lines if line.mean is not None]
    figure = go.Figure()
    figure.add_scatter(
        x=[_percent(line.mean) for line in measured],
        y=[_name(line) for line in measured],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [_length(line.mean, line.high) for line in measured],
            "arrayminus": [_length(line.low, line.mean) for line in measured],
            "thickness": 2,
            "width": 5,
        },
        mode="markers",
        name="measured, 95 % interval",
        marker={"color": style.NORMAL, "size": 10},
        hovertemplate="%{y}: %{x:.1f} %<extra>measured</extra>",
    )
    beside = [line for line in lines if line.published is not None]
    for comparable, symbol, name in (
        (True, "diamond", "published"),
        (False, "diamond-open", "published, of other classes"),
    ):
        shown = [line for line in beside if line.comparable == comparable]
        if shown:
            figure.add_scatter(
                x=[_percent(line.published) for line in shown],
                y=[_name(line) for line in shown],
                mode="markers",
                name=name,
                marker={"color": style.ANOMALOUS, "size": 11, "symbol": symbol, "line": {"width": 2}},
                hovertemplate="%{y}: %{x:.1f} %<extra>published</extra>",
            )
    style.layout(figure, height=ROW * len(names) + 100)
    _name_points(figure, names)
    lowest = min(
        (value for line in lines for value in (line.mean, line.low, line.published) if value is not None), default=0.5
    )
    figure.update_layout(hovermode="closest", margin={"l": 10})
    figure.update_xaxes(title="%", range=[min(50, 10 * int(10 * lowest)) - 1, 101], autorange=False)
    figure.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], automargin=True, range=[-0.8, len(names) - 0.2]
    )
    return figure


def _name_points(figure: go.Figure, names: Sequence[str]) -> None:
    """Write the name of each kind of point beside its first one: above what was measured, below what was published."""
    for trace in figure.data:
        if not len(trace.x):
            continue
        first = min(range(len(trace.x)), key=lambda place: names.index(trace.y[place]))
        right = trace.x[first] > 75
        figure.add_annotation(
            x=trace.x[first],
            y=trace.y[first],
            text=trace.name,
            showarrow=False,
            xanchor="right" if right else "left",
            yshift=15 if trace.error_x.array is not None else -15,
            font={"size": 12},
        )


def described(lines: Sequence[Result]) -> str:
    """Return what the chart shows, in words, for those who cannot see it."""
    parts = []
    for line in lines:
        mean = "not measured" if line.mean is None else f"{100 * line.mean:.1f} %"
        beside = "" if line.published is None else f", published {100 * line.published:.1f} %"
        parts.append(f"{line.label} {mean}{beside}")
    return f"Means on {lines[0].dataset if lines else 'no data'}: " + "; ".join(parts) + "."


def _name(line: Result) -> str:
    """Return the label of a line, broken into short ones; a chart reads tags in its texts."""
    return "<br>".join(html.escape(part) for part in textwrap.wrap(line.label, WIDEST))


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _length(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else 100 * (high - low)
