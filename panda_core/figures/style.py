"""Colours, marks and axes that all charts share.

Colours are Okabe and Ito's ("Color Universal Design", 2008), the blue a little lighter, so that each has a contrast
of at least 3 on a white and on a nearly black page. A colour never stands alone: dash and marker differ with it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

NORMAL = "#1C83C2"
ANOMALOUS = "#D55E00"
TRAIN = "#009E73"
MARK = "#8A97A3"  # stop and oracle lines, the threshold, "unadapted"
RUNS = ("#1C83C2", "#D55E00", "#009E73", "#CC79A7")
RUN_DASHES = ("solid", "dash", "dot", "dashdot")
RUN_SYMBOLS = ("circle", "square", "triangle-up", "x")
GRID = "rgba(138, 151, 163, 0.22)"
CLEAR = "rgba(0, 0, 0, 0)"  # the page's own background shows, light or dark

HEIGHT = 270


def layout(figure: go.Figure, *, height: int = HEIGHT) -> go.Figure:
    """Return `figure` with the margins and the hover label of every chart; none has a legend: see `name_lines`."""
    figure.update_layout(
        height=height,
        margin={"l": 40, "r": 10, "t": 12, "b": 40},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        showlegend=False,
        hovermode="x unified",
        dragmode=False,
        transition={"duration": 0},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, fixedrange=True, title_standoff=6)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, fixedrange=True, title_standoff=6, exponentformat="power")
    return figure


def step_axis(last_step: int) -> dict[str, Any]:
    """Return a fixed axis from the unadapted network to the end of the run."""
    margin = 0.03 * last_step
    return {"title": "optimiser step", "range": [-margin, last_step + margin], "autorange": False}


def ceiling(values: Iterable[float | None], *, room: float = 1.25) -> float:
    """Return a round number above all `values`, with room above the first: it seldom moves while a curve grows."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or max(known) <= 0:
        return 1.0
    wanted = max(max(known) * 1.04, known[0] * room)
    unit = 10.0 ** math.floor(math.log10(wanted))
    return next(unit * factor for factor in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if unit * factor >= wanted)


def hatched(shape: str) -> dict[str, Any]:
    """Return the pattern of bars that differ in more than colour; "" for none."""
    return {"shape": shape, "fillmode": "overlay", "fgcolor": "white", "fgopacity": 0.5, "size": 6}


def add_unadapted(figure: go.Figure, **place: Any) -> None:
    """Mark step 0 as what it is: the network before any adaptation."""
    figure.add_annotation(
        x=0,
        y=0.02,
        yref=place.pop("yref", "y domain"),
        text="unadapted",
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
        xshift=5,
        font={"size": 11, "color": MARK},
        **place,
    )


def add_mark(figure: go.Figure, step: float, text: str, dash: str, height: float, last_step: int) -> None:
    """Draw a vertical line at a step, its name beside it, on the side where there is room."""
    left = step > 0.5 * last_step
    figure.add_vline(x=step, line={"color": MARK, "dash": dash, "width": 1.5})
    figure.add_annotation(
        x=step,
        y=height,
        yref="y domain",
        text=text,
        showarrow=False,
        xanchor="right" if left else "left",
        yanchor="bottom",
        xshift=-3 if left else 3,
        font={"size": 11, "color": MARK},
    )


NAME_WIDTH = 18  # characters of a line of a name at the end of its curve
NAME_CHARACTER = 7  # pixels, the widest on average
NAME_LINE = 18  # pixels of a line of a name, also where a page enlarges its type more than its charts


def name_lines(figure: go.Figure) -> None:
    """Write the name of each line at its end, in place of a legend; names that would meet are moved apart.

    Call it last: the figure has a layout, and both axes have their ranges. A thin line leads from each end to its name.
    """
    layout, (left, right), (low, high) = figure.layout, figure.layout.xaxis.range, figure.layout.yaxis.range
    tall = layout.height - layout.margin.t - layout.margin.b
    ends = []
    for trace in figure.data:
        known = [(x, y) for x, y in zip(trace.x or (), trace.y or (), strict=True) if y is not None]
        if trace.name and known:
            ends.append((trace, known[-1][0], (min(max(known[-1][1], low), high) - low) / (high - low)))
    names = ["<br>".join(textwrap.wrap(trace.name, NAME_WIDTH)[:3]) for trace, _, _ in ends]
    sizes = [NAME_LINE * (name.count("<br>") + 1) / tall for name in names]
    for (trace, x, y), name, place in zip(ends, names, spread([y for *_, y in ends], sizes), strict=True):
        figure.add_shape(
            type="line",
            xref="paper",
            yref="paper",
            x0=(x - left) / (right - left),
            y0=y,
            x1=1.015,
            y1=place,
            line={"color": trace.line.color, "width": 1, "dash": "dot"},
        )
        figure.add_annotation(
            text=name,
            xref="paper",
            yref="paper",
            x=1.02,
            y=place,
            showarrow=False,
            xanchor="left",
            yanchor="middle",
            align="left",
            font={"size": 12},
        )
    longest = max((len(line) for name in names for line in name.split("<br>")), default=0)
    figure.update_layout(margin={"r": 24 + NAME_CHARACTER * longest})


@dataclasses.dataclass(frozen=True)
class Peak:
    """The highest bar of a group, where the group's name stands. place, height: in [0, 1] of the axes."""

    name: str
    colour: str
    x: Any
    place: float
    height: float


NEAR = 0.35  # of the axis: names of peaks that are nearer may meet
USUAL_WIDTH, NARROW = 1000, 280  # pixels of a chart across a page, and across a phone


def name_peaks(figure: go.Figure, peaks: Sequence[Peak], line: float | None = None) -> None:
    """Write the name of each group of upright bars above its highest one, in place of a legend, away from the others'.

    line: the place in [0, 1] of an upright line that is to cross no name.
    Call it last: the figure has a layout, and both axes have their ranges, the upright one with room for a line.
    """
    layout = figure.layout
    size = NAME_LINE / (layout.height - layout.margin.t - layout.margin.b)
    heights = [peak.height + 0.7 * size for peak in peaks]
    if any(abs(one.place - two.place) < NEAR for one, two in itertools.combinations(peaks, 2)):
        heights = spread(heights, [size] * len(peaks))
    middle = sum(peak.place for peak in peaks) / max(len(peaks), 1)
    for peak, height in zip(peaks, heights, strict=True):
        place, pixels = peak.place, NAME_CHARACTER * len(peak.name)
        most = pixels / NARROW  # of the axis of a phone
        leftwards = place > 1 - most or (place < middle and place > most)
        if line is not None and abs(line - place) < NEAR and most < place < 1 - most:
            leftwards = place < line
        away = 1.0 if line is None else (place - line) * (1 if leftwards else -1)  # how far the line is in the way
        between = most / 2 <= min(away, place, 1 - place) and away < most
        crossed = not leftwards and 0 <= away < pixels / USUAL_WIDTH and not between
        anchor = "right" if leftwards else "left"
        figure.add_annotation(
            text=f'<span style="color:{peak.colour}">■</span> {peak.name}',
            **({"x": line, "xref": "x domain", "xshift": 6} if crossed else {"x": peak.x}),
            y=height,
            yref="y domain",
            showarrow=False,
            xanchor="center" if between else anchor,
            yanchor="middle",
            font={"size": 12},
        )


def spread(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return places in [0, 1] in the order of those `wanted`, near them, that are apart by half the sizes of both.

    Where there is no room for all, they hang out at the bottom.
    """
    order = sorted(range(len(wanted)), key=lambda index: -wanted[index])
    places = [0.0] * len(wanted)
    highest = 1.0
    for index in order:  # from the top: none above the one before
        places[index] = min(wanted[index], highest - sizes[index] / 2)
        highest = places[index] - sizes[index] / 2
    lowest = min(0.0, 1.0 - sum(sizes))
    for index in reversed(order):  # from the bottom: none below it
        places[index] = max(places[index], lowest + sizes[index] / 2)
        lowest = places[index] + sizes[index] / 2
    return places


def marks(steps: Iterable[int], symbol: str) -> dict[str, Any]:
    """Return a marker for each step; step 0 has one of its own, a larger open diamond."""
    listed = list(steps)
    return {
        "symbol": ["diamond-open" if step == 0 else symbol for step in listed],
        "size": [11 if step == 0 else 6 for step in listed],
        "line": {"width": [2.5 if step == 0 else 0 for step in listed]},
    }


def line(
    curve_steps: Iterable[int],
    values: Iterable[float | None],
    *,
    name: str,
    colour: str,
    dash: str = "solid",
    symbol: str = "circle",
    number: str = ".3f",
) -> go.Scatter:
    """Return one line of a chart over steps."""
    steps = list(curve_steps)
    return go.Scatter(
        x=steps,
        y=list(values),
        name=name,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2.2},
        marker={"color": colour, **marks(steps, symbol)},
        hovertemplate=f"%{{y:{number}}}",
        connectgaps=False,
    )
