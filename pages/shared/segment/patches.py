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
from pages.shared.segment.maps import LARGE, MapView, picture_of
from panda_core.config import TILES_OFF
from panda_core.datasets import Images
from panda_core.figures.heatmaps import cropped
from panda_core.segmentation.geometry import Cells
from panda_core.segmentation.maps import rotated

CROP = 96  # pixels of a patch with what lies around it
SHARP = 2 * CROP  # as it is handed over: sharp on a screen twice as fine
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


def show_neighbours(view: MapView, style: MapStyle, image: int) -> None:
    """Draw the chosen patch and, a row for each group of levels, the normal patches nearest to it."""
    grid = view.maps.grids[image]
    rows, columns = grid.shape
    st.subheader("Why is this patch hot?")
    words, crops = st.columns([1, 2.4], gap="large")
    with words:
        row, column = _choice(view, image, rows, columns)
        st.markdown(_told(view, style, float(grid[row, column])), help=tip("nearest_patches"))
    levels = list(zip(view.maps.distances, view.maps.origins, view.maps.cells, strict=True))
    center = (row + 0.5) / rows, (column + 0.5) / rows  # in shares of the height
    with (
        crops.container(key="patches"),
        st.grid(2 if len(levels) > 2 else 1, min_column_width=4 * (CROP + 6), gap="small"),
    ):
        for group, (distances, origins, cells) in enumerate(levels):
            high, wide = distances.shape[1:3]
            patch = cells.nearest(center, (high, wide))
            with st.container(gap="xsmall"):
                st.caption(f"**{_level(group, view.maps.distances, rows)}**, {high} × {wide} in an image")
                _nearest(view, image, patch, distances[image][patch], origins[image][patch], cells)


def _told(view: MapView, style: MapStyle, value: float) -> str:
    """Return how unusual a patch of this map value is, in words."""
    judged = ""
    if style.level is not None:
        where = "above" if value > style.level else "not above"
        judged = f" It lies {where} the value from which on parts are marked, {style.level:.2f}."
    measured = f"lies **{value:.2f}** times as far from normal patches as held-out normal ones do on average."
    if view.run.kind.key == "few-shot":
        measured = f"is **{value:.2f}** times as unusual as held-out normal patches of the seen classes are on average."
    nearest = " Beside it are the normal patches nearest to it."
    if not view.maps.distances:
        nearest = " There are no nearest patches to show: its method compares with none, or its run kept none."
    return f"This patch {measured}{judged}{nearest}"


def _choice(view: MapView, image: int, rows: int, columns: int) -> tuple[int, int]:
    """Draw the choice of a patch for those who do not click on the picture."""
    row, column = view.maps.hottest(image)
    keys = _keys(view, image)
    hot, first, second = st.columns([1.7, 1, 1], vertical_alignment="bottom")
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


def _level(group: int, distances: tuple[np.ndarray, ...], finest: int) -> str:
    """Return what the patches of a group of levels are called, beside those of the others.

    finest: how many lie above one another in the map; of photos in many tiles those of the finest level were not kept.
    """
    sides = [group.shape[1] for group in distances]
    if len(sides) == 1 or sides[0] < finest:
        return "Patches"
    if len(sides) == 2 and sides[0] > sides[1]:
        return ("Fine patches", "Coarse patches")[group]
    which = {0: ", the finest", len(sides) - 1: ", the deepest"}.get(group, "")
    return f"Patches of level {group + 1} of {len(sides)}{which}"


def _nearest(
    view: MapView,
    image: int,
    patch: tuple[int, int],
    distances: np.ndarray,
    origins: np.ndarray,
    cells: Cells,
) -> None:
    """Draw a patch and the normal patches nearest to it, each in what lies around it, in one row.

    distances, origins: (k,) and (k, 4) of those; cells: where the patches of this level lie.
    """
    run = view.run
    if view.references is not None:
        images: Images | None = view.references
        names, key = list(view.references.names), f"{view.key}/references"
    else:
        images, names, key = find_images(run, "train")[0], run.split.train, f"{run.run_id}/train"
    turns = int(run.config.set.get("rotations", 1))
    own, (rows, columns) = view.picture(image), view.maps.grids[image].shape
    pictures = [] if own is None else [cropped(own, _box(own, cells, *patch, rows / columns), SHARP)]
    captions, alts = ["this patch"] * len(pictures), ["The chosen patch, framed"] * len(pictures)
    for distance, (place, turn, row, column) in zip(distances, origins.tolist(), strict=True):
        picture = None if images is None else picture_of(images, key, place, LARGE)
        turned = f", turned {360 * turn // turns}°" if turn else ""
        if picture is None:
            st.caption(f"{wording.sentence(str(names[place]))}: {wording.amount(float(distance))}{turned}")
            continue
        # Of photos in tiles, patches of a copy that was turned by a quarter lie where they were before.
        quarters = 4 * turn // turns if run.config.tiles != TILES_OFF and 4 * turn % turns == 0 else 0
        seen = picture if quarters % 2 else rotated(picture, turn, turns)
        crop = cropped(seen, _box(seen, cells, row, column, rows / columns), SHARP)
        pictures.append(np.ascontiguousarray(np.rot90(crop, quarters % 2 and quarters)))
        captions.append(f"{wording.amount(float(distance))}{turned}")
        alts.append(f"Normal training image {names[place]}, its patch framed")
    with st.container(horizontal=True, gap="xsmall"):
        for shown, words, alt in zip(pictures, captions, alts, strict=True):
            st.image(shown, caption=words, width=CROP, alt=alt)


def _box(picture: np.ndarray, cells: Cells, row: int, column: int, aspect: float) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of a patch in pixels of a picture.

    aspect: height over width of what the network sees of it; cells are in shares of that height.
    """
    (high, wide), (left, top, right, bottom) = picture.shape[:2], cells.box(row, column)
    return left * wide * aspect, top * high, right * wide * aspect, bottom * high
