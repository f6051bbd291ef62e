"""Why a patch is hot: the normal patches that are nearest to it, each in its image, with the distance."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.charts import PLAIN
from pages.shared.frame.glossary import tip
from pages.shared.runs.images import find_images
from pages.shared.segment.map_style import MapStyle
from pages.shared.segment.maps import MapView, picture_of
from panda_core.datasets import Images
from panda_core.figures.heatmaps import framed
from panda_core.segmentation.geometry import Cells
from panda_core.segmentation.maps import rotated

SIDE = 240  # pixels
HOTTEST = 5


def choose_patch(view: MapView, image: int) -> tuple[int, int]:
    """Return the chosen patch (row, column), from 0: the hottest before another one is chosen."""
    rows, columns = view.maps.grids[image].shape
    row, column = view.maps.hottest(image)
    keys = _keys(view, image)
    chosen = [st.session_state.get(key, start + 1) for key, start in zip(keys, (row, column), strict=True)]
    return min(int(chosen[0] or 1), rows) - 1, min(int(chosen[1] or 1), columns) - 1


def clicked_patch(figure: go.Figure, view: MapView, image: int, alt: str) -> None:
    """Draw the picture; a click on it chooses the patch there."""
    key = f"map-picture-{view.key}-{image}"
    st.plotly_chart(
        figure,
        width="stretch",
        key=key,
        config=PLAIN,
        alt=alt,
        selection_mode="points",
        on_select=lambda: _clicked(key, _keys(view, image)),
    )


def _clicked(key: str, keys: tuple[str, str]) -> None:
    points = st.session_state.get(key, {}).get("selection", {}).get("points", [])
    patch = points[0].get("customdata") if points else None
    if not patch:
        return  # the selection was taken back
    for name, value in zip(keys, patch, strict=False):
        st.session_state[name] = int(value) + 1


def show_neighbours(view: MapView, style: MapStyle, image: int, step: int) -> None:
    """Draw the chosen patch and, for each group of levels, the normal patches nearest to it."""
    grid = view.maps.grids[image]
    rows, columns = grid.shape
    st.subheader("Why is this patch hot?")
    row, column = _choice(view, image, rows, columns)
    value = float(grid[row, column])
    judged = ""
    if style.level is not None:
        where = "above" if value > style.level else "not above"
        judged = f" It lies {where} the value from which on parts are marked, {style.level:.2f}."
    measured = f"lies **{value:.2f}** times as far from normal patches as held-out normal ones do on average."
    if view.run.kind.key == "few-shot":
        measured = f"is **{value:.2f}** times as unusual as held-out normal patches of the seen classes are on average."
    nearest = " These are the normal patches nearest to it:"
    if not view.maps.distances:
        nearest = " Which normal patches are nearest to it was not kept with this run."
    st.markdown(f"This patch {measured}{judged}{nearest}", help=tip("nearest_patches"))
    left, right = st.columns([1, 3.2], gap="large")
    with left:
        picture = view.picture(image, SIDE)
        if picture is not None:
            box = _box(picture, Cells.even(1, rows), row, column)
            st.image(
                framed(picture, box), width="stretch", alt=f"{view.maps.names[image]} with the chosen patch framed"
            )
        st.caption(f"The patch in row {row + 1}, column {column + 1}")
    with right:
        center = (row + 0.5) / rows, (column + 0.5) / columns
        for group, distances in enumerate(view.maps.distances):
            high, wide = distances.shape[1:3]
            cells = view.maps.cells[group]
            patch = (image, *cells.nearest(center, (high, wide)))
            st.markdown(f"**{_level(group, view.maps.distances)}**, {high} × {wide} of them in an image")
            _nearest(view, distances[patch], view.maps.origins[group][patch], cells)


def _choice(view: MapView, image: int, rows: int, columns: int) -> tuple[int, int]:
    """Draw the choice of a patch for those who do not click on the picture."""
    row, column = view.maps.hottest(image)
    keys = _keys(view, image)
    hot, first, second, _ = st.columns([1.6, 1, 1, 2], vertical_alignment="bottom")
    best = np.argsort(view.maps.grids[image], axis=None)[::-1][:HOTTEST]
    patches = [tuple(int(index) for index in np.unravel_index(patch, (rows, columns))) for patch in best]
    names = {f"{number}. hottest patch": patch for number, patch in enumerate(patches, 1)}
    key = f"{keys[0]}-hottest"
    hot.selectbox(
        "Go to",
        list(names),
        key=key,
        help=tip("hottest"),
        on_change=_jump,
        args=(key, names, keys),
    )
    chosen = [
        field.number_input(
            label, min_value=1, max_value=most, value=start + 1, step=1, key=name, help=tip("patch_place")
        )
        for field, label, most, start, name in (
            (first, "Row", rows, row, keys[0]),
            (second, "Column", columns, column, keys[1]),
        )
    ]
    return int(chosen[0]) - 1, int(chosen[1]) - 1


def _jump(key: str, names: dict[str, tuple[int, ...]], keys: tuple[str, str]) -> None:
    for name, value in zip(keys, names[st.session_state[key]], strict=True):
        st.session_state[name] = value + 1


def _keys(view: MapView, image: int) -> tuple[str, str]:
    return f"map-row-{view.key}-{image}", f"map-column-{view.key}-{image}"


def _level(group: int, distances: tuple[np.ndarray, ...]) -> str:
    """Return what the patches of a group of levels are called, beside those of the others."""
    sides = [group.shape[1] for group in distances]
    if len(sides) == 1:
        return "Patches"
    if len(sides) == 2 and sides[0] > sides[1]:
        return ("Fine patches", "Coarse patches")[group]
    which = {0: ", the finest", len(sides) - 1: ", the deepest"}.get(group, "")
    return f"Patches of level {group + 1} of {len(sides)}{which}"


def _nearest(view: MapView, distances: np.ndarray, origins: np.ndarray, cells: Cells) -> None:
    run = view.run
    if view.references is not None:
        images: Images | None = view.references
        names, key = list(view.references.names), f"{view.key}/references"
    else:
        images, names, key = find_images(run, "train")[0], run.split.train, f"{run.run_id}/train"
    turns = int(run.config.set.get("rotations", 1))
    with st.grid(3, min_column_width=100, gap="small"):
        for distance, (image, turn, row, column) in zip(distances, origins.tolist(), strict=True):
            name = str(names[image])
            with st.container(gap="xsmall"):
                picture = None if images is None else picture_of(images, key, image, SIDE)
                if picture is None:
                    st.caption(wording.sentence(name))
                else:
                    seen = rotated(picture, turn, turns)
                    box = _box(seen, cells, row, column)
                    st.image(framed(seen, box), width="stretch", alt=f"Normal training image {name}, its patch framed")
                turn_words = f", turned by {360 * turn // turns}°" if turn else ""
                st.caption(f"distance **{wording.amount(float(distance))}**{turn_words}", help=wording.sentence(name))


def _box(picture: np.ndarray, cells: Cells, row: int, column: int) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of a patch in pixels of a picture."""
    (high, wide), (left, top, right, bottom) = picture.shape[:2], cells.box(row, column)
    return left * wide, top * high, right * wide, bottom * high
