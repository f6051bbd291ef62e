"""Charts around one map: the picture whose patches can be chosen, the legend of its colours, its score over steps."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np
import plotly.graph_objects as go

from panda_core.figures import style
from panda_core.figures.heatmaps import Scale, colourscale

PICTURE_HEIGHT = 430
MOST_POINTS = 3200  # all patches of an image of 448 pixels
QUALITY = 90  # of the JPEG in the chart


def picture_figure(picture: np.ndarray, grid: np.ndarray, chosen: tuple[int, int]) -> go.Figure:
    """Return a picture (H, W, 3) over which every patch of its grid (h, w) is a point to be chosen.

    The points are all but see-through and carry [row, column]; the patch `chosen` has a frame. They are drawn as SVG:
    a few hundred are no burden, and machines without a graphics card can choose them too; of photos with more, a point
    stands for the hottest patch around it. Axes count patches.
    """
    rows, columns = grid.shape
    row, column = _to_choose(grid)
    figure = go.Figure()
    figure.add_scatter(
        x=(column + 0.5).tolist(),
        y=(row + 0.5).tolist(),
        customdata=np.column_stack([row, column]).tolist(),
        text=[f"row {r + 1}, column {c + 1}: {grid[r, c]:.2f}" for r, c in zip(row, column, strict=True)],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        marker={"symbol": "square", "size": max(8, 380 // max(rows, columns)), "color": "white", "opacity": 0.01},
        selected={"marker": {"opacity": 0.01}},
        unselected={"marker": {"opacity": 0.01}},
    )
    style.layout(figure, height=PICTURE_HEIGHT)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, hovermode="closest", clickmode="event+select")
    figure.add_layout_image(
        source=data_url(picture),
        x=0,
        y=0,
        xref="x",
        yref="y",
        sizex=columns,
        sizey=rows,
        sizing="stretch",
        layer="below",
    )
    top, left = chosen
    for width, colour in ((5, "white"), (2.5, style.ANOMALOUS)):
        figure.add_shape(type="rect", x0=left, x1=left + 1, y0=top, y1=top + 1, line={"color": colour, "width": width})
    aspect = (picture.shape[0] / rows) / (picture.shape[1] / columns)  # a patch is as tall as that times its width
    axis = {"visible": False, "autorange": False, "constrain": "domain"}
    figure.update_xaxes(range=[0, columns], **axis)
    figure.update_yaxes(range=[rows, 0], scaleanchor="x", scaleratio=aspect, **axis)
    return figure


def _to_choose(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the patches that can be chosen: all, or of many the hottest of each square of them."""
    row, column = (index.ravel() for index in np.indices(grid.shape))
    step = math.ceil(math.sqrt(grid.size / MOST_POINTS))
    if step < 2:
        return row, column
    square = row // step * math.ceil(grid.shape[1] / step) + column // step
    order = np.lexsort((-grid.ravel(), square))
    hottest = order[np.unique(square[order], return_index=True)[1]]
    return row[hottest], column[hottest]


def data_url(picture: np.ndarray) -> str:
    """Return uint8 (H, W, 3) as the address of a JPEG that holds itself."""
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def legend_figure(scale: Scale, peak: float | None = None) -> go.Figure:
    """Return the legend of `scale`: its colours, where normal maps end, and the highest value of an image.

    peak: that highest value; one beyond the scale is marked at its end.
    """
    values = np.linspace(scale.low, scale.high, 128)
    figure = go.Figure()
    figure.add_heatmap(
        x=values.tolist(),
        z=[scale.positions(values).tolist()],
        y=[0],
        zmin=0,
        zmax=1,
        colorscale=colourscale(),
        showscale=False,
        hovertemplate="%{x:.2f}<extra></extra>",
    )
    style.layout(figure, height=86)
    figure.update_layout(margin={"l": 24, "r": 28, "t": 22, "b": 34}, hovermode="closest")
    ticks = [scale.low, scale.middle, scale.high] if scale.calibrated else [scale.low, scale.high]
    words = [f"{value:.2f}" for value in ticks]
    words[-1] = f"≥ {words[-1]}" if scale.calibrated else words[-1]
    figure.update_xaxes(
        range=[scale.low, scale.high], autorange=False, tickvals=ticks, ticktext=words, showgrid=False, ticks="outside"
    )
    figure.update_yaxes(visible=False, autorange=False, range=[-0.5, 0.5])
    if scale.calibrated:
        figure.add_vline(x=scale.middle, line={"color": style.MARK, "width": 2, "dash": "dash"})
        _note(figure, scale.middle, "normal maps end", scale)
    if peak is not None:
        shown = min(max(peak, scale.low), scale.high)
        figure.add_scatter(
            x=[shown],
            y=[0],
            mode="markers",
            cliponaxis=False,
            hovertemplate=f"highest: {peak:.2f}<extra></extra>",
            marker={"symbol": "diamond", "size": 12, "color": "white", "line": {"color": "#1D2A35", "width": 2}},
        )
    return figure


def _note(figure: go.Figure, x: float, text: str, scale: Scale) -> None:
    figure.add_annotation(
        x=min(max(x, scale.low), scale.high),
        y=1,
        yref="y domain",
        text=text,
        showarrow=False,
        yanchor="bottom",
        font={"size": 11, "color": style.MARK},
    )


def followed_figure(
    steps: Sequence[int], peaks: Sequence[float], middles: Sequence[float | None], chosen: int
) -> go.Figure:
    """Return the highest map value of one image over the steps of the network that was compared with.

    middles: where maps of normal images end at each step, or None; chosen: the step that is looked at.
    """
    figure = go.Figure()
    figure.add_trace(style.line(steps, peaks, name="this image", colour=style.ANOMALOUS, number=".2f"))
    figure.add_trace(
        style.line(
            steps, middles, name="normal maps end", colour=style.MARK, dash="dash", symbol="line-ew-open", number=".2f"
        )
    )
    style.layout(figure, height=200)
    figure.update_xaxes(**style.step_axis(max(steps)))
    known = [*peaks, *(value for value in middles if value is not None)]
    figure.update_yaxes(title="highest map value", range=[0, style.ceiling(known)], autorange=False)
    figure.add_vline(x=chosen, line={"color": style.MARK, "width": 1.5, "dash": "dot"})
    style.add_unadapted(figure)
    style.name_lines(figure)
    return figure
