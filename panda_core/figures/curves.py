"""The curves of one run (Figure 1 of the paper, AUROC, effective rank, the alarm), and of several in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from panda_core.errors import UsageError
from panda_core.figures import style
from panda_core.figures.curve import Curve
from panda_core.methods.alarm import Gauge, Reading

WHITENED_LINE = "whitened, not adapted"  # what the level line beside an AUROC is called


def distances_figure(curve: Curve) -> go.Figure:
    """Return mean squared distances to the center over steps: PANDA, Figure 1 left."""
    normal, anomalous = curve.distances(curve.normal_ratio), curve.distances(curve.anomalous_ratio)
    figure = go.Figure(
        [
            style.line(
                curve.steps,
                anomalous,
                name="anomalous test",
                colour=style.ANOMALOUS,
                dash="dash",
                symbol="square",
                number=".3g",
            ),
            style.line(curve.steps, normal, name="normal test", colour=style.NORMAL, number=".3g"),
            style.line(
                curve.steps,
                curve.spread,
                name="training",
                colour=style.TRAIN,
                dash="dot",
                symbol="triangle-up",
                number=".3g",
            ),
        ]
    )
    top = style.ceiling([*anomalous[:1], *normal[:1], *curve.spread[:1], *anomalous, *normal, *curve.spread])
    return _over_steps(figure, curve, [0, top])


def ratios_figure(curve: Curve) -> go.Figure:
    """Return the distances of the test images divided by that of the training images: PANDA, Figure 1 right."""
    figure = go.Figure(
        [
            style.line(
                curve.steps,
                curve.anomalous_ratio,
                name="anomalous test",
                colour=style.ANOMALOUS,
                dash="dash",
                symbol="square",
                number=".2f",
            ),
            style.line(curve.steps, curve.normal_ratio, name="normal test", colour=style.NORMAL, number=".2f"),
        ]
    )
    figure.add_hline(y=1, line={"color": style.TRAIN, "dash": "dot", "width": 1.5})
    top = style.ceiling([*curve.anomalous_ratio, *curve.normal_ratio, 1.2])
    return _over_steps(figure, curve, [0, top])


def auroc_figure(curve: Curve) -> go.Figure:
    """Return the AUROC over steps with its 95 % interval; where the run has finished, also where it stopped.

    Of a run that adapts in another space, a level line says what the whitened one gives without adapting.
    """
    figure = go.Figure()
    known = [
        (step, low, high)
        for step, low, high in zip(curve.steps, curve.auroc_low, curve.auroc_high, strict=True)
        if low is not None and high is not None
    ]
    if known:
        steps, lows, highs = zip(*known, strict=True)
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_scatter(x=steps, y=lows, **band)
        figure.add_scatter(
            x=steps, y=highs, name="95 % interval", fill="tonexty", fillcolor="rgba(28, 131, 194, 0.2)", **band
        )
    figure.add_trace(style.line(curve.steps, curve.auroc, name="AUROC", colour=style.NORMAL))
    if curve.whitened_auroc is not None:
        figure.add_scatter(
            x=[0, curve.last_step],
            y=[curve.whitened_auroc] * 2,
            name=f"{WHITENED_LINE} {curve.whitened_auroc:.3f}",
            mode="lines",
            line={"color": style.MARK, "dash": "dashdot", "width": 2},
            hovertemplate="%{y:.3f}",
        )
    if curve.stop_step is not None:
        style.add_mark(figure, curve.stop_step, "stop", "solid", 0.14, curve.last_step)
    if curve.oracle_step is not None:
        style.add_mark(figure, curve.oracle_step, "oracle", "dot", 0.26, curve.last_step)
    return _over_steps(figure, curve, auroc_range([curve]))


def rank_figure(curve: Curve) -> go.Figure:
    """Return the effective rank of the training features over steps: it needs no labels, and falls in a collapse."""
    rank = style.line(
        curve.steps, curve.effective_rank, name="effective rank", colour=style.TRAIN, symbol="triangle-up", number=".1f"
    )
    top = style.ceiling(curve.effective_rank, room=1.1)
    return _over_steps(go.Figure([rank]), curve, [0, top], named=False)


def auroc_range(curves: list[Curve]) -> list[float]:
    """Return [0.5, 1] (chance to perfect), opened downwards in steps of a tenth where a value lies below."""
    drawn = [(*curve.auroc, *curve.auroc_low, curve.whitened_auroc) for curve in curves]
    lowest = min((value for values in drawn for value in values if value is not None), default=0.5)
    bottom = min(0.5, int(lowest * 10) / 10)
    return [bottom - 0.01, 1.01]


def _over_steps(figure: go.Figure, curve: Curve, span: list[float], *, named: bool = True) -> go.Figure:
    """Put the axes in place. The name of the vertical one is left to the heading above the chart: width is dear."""
    style.layout(figure)
    figure.update_xaxes(**style.step_axis(curve.last_step))
    figure.update_yaxes(range=span, autorange=False)
    if curve.steps:
        style.add_unadapted(figure)
    if named:
        style.name_lines(figure)
    return figure


def kept_figure(alarm: Sequence[Reading], last_step: int) -> go.Figure:
    """Return how much of the neighbourhoods of step 0 is left over steps, in percent, and the alarm's line."""
    return _gauge_figure(alarm, [reading.structure for reading in alarm], last_step, "neighbours kept", 100.0)


def copies_figure(alarm: Sequence[Reading], last_step: int, fired: int | None) -> go.Figure:
    """Return the AUROC of held-out normal images against strange copies of themselves over steps, and the alarm's line.

    fired: the place of `alarm` where the AUROC first lay below the line, marked, or None.
    """
    figure = _gauge_figure(alarm, [reading.detection for reading in alarm], last_step, "strange copies", 1.0)
    if fired is not None:
        style.add_mark(figure, alarm[fired].step, "alarm", "dash", 0.14, last_step)
    return figure


def _gauge_figure(
    alarm: Sequence[Reading], gauges: Sequence[Gauge], last_step: int, name: str, unit: float
) -> go.Figure:
    steps = [reading.step for reading in alarm]
    values = [None if gauge.value is None else unit * gauge.value for gauge in gauges]
    number = ".0f" if unit == 100 else ".3f"
    figure = go.Figure([style.line(steps, values, name=name, colour=style.RUNS[3], symbol="square", number=number)])
    figure.add_scatter(
        x=steps,
        y=[None if gauge.value is None else unit * gauge.line for gauge in gauges],
        name="the alarm's line",
        mode="lines",
        line={"color": style.MARK, "dash": "dot", "width": 1.5},
        hovertemplate=f"%{{y:{number}}}",
    )
    style.layout(figure, height=260)
    figure.update_xaxes(**style.step_axis(last_step))
    figure.update_yaxes(range=[0, 1.05 * unit], autorange=False)
    style.add_unadapted(figure)
    style.name_lines(figure)
    return figure


MOST_RUNS = len(style.RUNS)


def compare_figure(curves: Sequence[Curve], what: Literal["auroc", "ratio"]) -> go.Figure:
    """Return up to four runs' AUROC, or ratio of anomalous to training distance, over steps.

    The place of a run in `curves` decides its colour, dash and marker, in both charts alike. Of equal lines the first
    is the widest, and the names of the others begin with "=".
    """
    if len(curves) > MOST_RUNS:
        raise UsageError(f"At most {MOST_RUNS} runs can be compared at once; got {len(curves)}. Choose fewer.")
    figure = go.Figure()
    drawn = [(list(curve.steps), list(curve.auroc if what == "auroc" else curve.anomalous_ratio)) for curve in curves]
    for place, (curve, points) in enumerate(zip(curves, drawn, strict=True)):
        above = drawn[place + 1 :].count(points)  # lines that lie on this one: it is wider, to be seen under them
        trace = style.line(
            *points,
            name=curve.label if points not in drawn[:place] else f"= {curve.label}",
            colour=style.RUNS[place],
            dash="solid" if above else style.RUN_DASHES[place],
            symbol=style.RUN_SYMBOLS[place],
            number=".3f" if what == "auroc" else ".2f",
        )
        trace.line.width += 5 * above
        figure.add_trace(trace)
    style.layout(figure, height=320)
    figure.update_xaxes(**style.step_axis(max((curve.last_step for curve in curves), default=1)))
    if what == "auroc":
        figure.update_yaxes(title="AUROC", range=auroc_range(list(curves)), autorange=False)
    else:
        top = max((style.ceiling(curve.anomalous_ratio) for curve in curves), default=1.0)
        figure.update_yaxes(title="anomalous distance, training = 1", range=[0, top], autorange=False)
    if any(curve.steps for curve in curves):
        style.add_unadapted(figure)
    style.name_lines(figure)
    return figure
