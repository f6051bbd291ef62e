"""Scores of test images: how they lie, how the features behind them lie, and the checkpoint that each image chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from panda_core.figures import style

BINS = 40


def histogram_figure(
    scores: np.ndarray,
    is_anomaly: np.ndarray,
    *,
    threshold: float | None = None,
    limits: tuple[float, float] | None = None,
) -> go.Figure:
    """Return the scores of normal and anomalous test images as two see-through histograms over one another.

    scores, is_anomaly: (M,). Heights are shares of each group, so that few normals and many anomalies compare.
    limits: the range of the score axis, for a run looked at step after step; the range of `scores` by default.
    """
    low, high = limits or _span(scores)
    edges = np.linspace(low, high, BINS + 1)
    middles, width = (edges[:-1] + edges[1:]) / 2, float(edges[1] - edges[0])
    groups = (
        ("normal", scores[is_anomaly == 0], style.NORMAL, ""),
        ("anomalous", scores[is_anomaly == 1], style.ANOMALOUS, "/"),
    )
    figure, peaks = go.Figure(), []
    for name, members, colour, pattern in groups:
        if not len(members):
            continue
        counts, _ = np.histogram(np.clip(members, low, high), bins=edges)
        share = 100 * counts / len(members)
        peak = int(share.argmax())
        place = (peak + 0.5) / BINS
        peaks.append(style.Peak(f"{name} ({len(members)})", colour, middles[peak], place, float(share[peak])))
        figure.add_bar(
            x=middles,
            y=share,
            width=width,
            name=name,
            marker={
                "color": colour,
                "opacity": 0.65,
                "line": {"width": 0},
                "pattern": style.hatched(pattern),
            },
            hovertemplate=f"{name}: %{{y:.1f}} % at score %{{x:.3g}}<extra></extra>",
        )
    style.layout(figure, height=300)
    figure.update_layout(barmode="overlay", hovermode="closest", bargap=0, margin={"t": 26})
    figure.update_xaxes(title="anomaly score", range=[low, high], autorange=False, exponentformat="power")
    shown = None if threshold is None else min(max(threshold, low), high)
    _over_bars(figure, peaks, "share of the group, %", None if shown is None else (shown - low) / (high - low))
    if shown is not None:
        right = shown > (low + high) / 2
        figure.add_vline(x=shown, line={"color": style.MARK, "width": 2, "dash": "dash"})
        figure.add_annotation(
            x=shown,
            y=1,
            yref="y domain",
            text="threshold",
            showarrow=False,
            xanchor="right" if right else "left",
            yanchor="bottom",
            font={"size": 11, "color": style.MARK},
        )
    return figure


def _over_bars(
    figure: go.Figure, peaks: Sequence[style.Peak], title: str, line: float | None = None, room: float = 1.2
) -> None:
    """Put the upright axis of bars in place, and names over the highest ones, whose heights are values of that axis.

    line: see `name_peaks`. room: how much higher the axis is than the highest of them.
    """
    top = style.ceiling([peak.height for peak in peaks], room=room)
    figure.update_yaxes(title=title, range=[0, top], autorange=False)
    style.name_peaks(figure, [dataclasses.replace(peak, height=peak.height / top) for peak in peaks], line)


def spectrum_figure(singular_values: np.ndarray, unadapted: np.ndarray | None = None) -> go.Figure:
    """Return the singular values of the training features, largest first, each as a share of their sum.

    singular_values: (K,) at the step shown; unadapted: (K,) at step 0. A collapse leaves few directions.
    """
    figure = go.Figure()
    lines = [("unadapted", unadapted, style.MARK, "dot", "diamond-open")]
    lines.append(("at this step", singular_values, style.TRAIN, "solid", "triangle-up"))
    top = 0.0
    for name, values, colour, dash, symbol in lines:
        if values is None or not len(values):
            continue
        share = 100 * values / max(float(values.sum()), 1e-12)
        top = max(top, float(share.max()))
        figure.add_scatter(
            x=list(range(1, len(share) + 1)),
            y=share.tolist(),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"color": colour, "symbol": symbol, "size": 5},
            hovertemplate="direction %{x}: %{y:.1f} %<extra></extra>",
        )
    style.layout(figure, height=300)
    figure.update_layout(hovermode="closest")
    last = max(8, len(singular_values)) + 1
    figure.update_xaxes(title="direction, strongest first", autorange=False, range=[0, last])
    figure.update_yaxes(title="share of the spread, %", autorange=False, range=[0, style.ceiling([top], room=1.05)])
    style.name_lines(figure)
    return figure


def _span(scores: np.ndarray) -> tuple[float, float]:
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
    margin = 0.02 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def chosen_figure(steps: Sequence[int], chosen: np.ndarray, is_anomaly: np.ndarray) -> go.Figure:
    """Return the share of the test images of each kind that chose each checkpoint, in percent of the kind.

    steps: all that could be chosen; chosen: (M,) the step behind each image's score; is_anomaly: (M,).
    """
    figure, peaks = go.Figure(), []
    groups = [
        (label, name, colour, pattern)
        for label, name, colour, pattern in ((0, "normal", style.NORMAL, ""), (1, "anomalous", style.ANOMALOUS, "/"))
        if (is_anomaly == label).any()
    ]
    table = [[100 * float((chosen[is_anomaly == group[0]] == step).mean()) for step in steps] for group in groups]
    for (label, name, colour, pattern), shares in zip(groups, table, strict=True):
        peak, count = int(np.argmax(shares)), int((is_anomaly == label).sum())
        peaks.append(style.Peak(f"{name} ({count})", colour, peak, (peak + 0.5) / len(steps), max(map(max, table))))
        figure.add_bar(
            x=[str(step) for step in steps],
            y=shares,
            name=name,
            marker={"color": colour, "pattern": style.hatched(pattern)},
            hovertemplate=f"step %{{x}}: %{{y:.1f}} % of the {name} images<extra></extra>",
        )
    style.layout(figure, height=260)
    figure.update_layout(barmode="group", hovermode="closest", bargap=0.25)
    figure.update_xaxes(title="step of the chosen checkpoint", type="category")
    # Over all bars, one name above the other: bars of both groups stand side by side, and a name is wider than they.
    above = [0.25 * peak.height * (len(peaks) - 1 - place) for place, peak in enumerate(peaks)]
    raised = [dataclasses.replace(peak, height=peak.height + more) for peak, more in zip(peaks, above, strict=True)]
    _over_bars(figure, raised, "share of the kind, %", room=1.3)
    return figure


def normalised_figure(
    steps: Sequence[int], relative: Sequence[float | None], chosen: int | None, last_step: int
) -> go.Figure:
    """Return one image's score at each checkpoint, divided by what a normal image scores there.

    relative: of each step, None where it says nothing, a gap; chosen: the step whose score counts, marked, or None.
    """
    figure = go.Figure(
        [style.line(steps, relative, name="this image", colour=style.RUNS[3], symbol="square", number=".3g")]
    )
    figure.add_hline(y=1, line={"color": style.TRAIN, "dash": "dot", "width": 1.5})
    if chosen is not None and chosen in steps:
        value = relative[list(steps).index(chosen)]
        ring = {"size": 16, "symbol": "circle-open", "color": style.ANOMALOUS, "line": {"width": 3}}
        figure.add_scatter(x=[chosen], y=[value], mode="markers", name="chosen", marker=ring, hoverinfo="skip")
        late = chosen > last_step / 2
        figure.add_annotation(
            x=chosen,
            y=value,
            text="chosen",
            showarrow=False,
            xanchor="right" if late else "left",
            xshift=-12 if late else 12,
            yshift=12,
            font={"size": 12},
        )
    style.layout(figure, height=230)
    figure.update_xaxes(**style.step_axis(last_step))
    figure.update_yaxes(
        range=[0, style.ceiling([*(value for value in relative if value is not None), 1.2], room=1.05)], autorange=False
    )
    return figure
