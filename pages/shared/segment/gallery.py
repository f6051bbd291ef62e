"""Images with their maps in small, in order of their scores; one of them is chosen."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.forms.sections import take_older_address
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.gallery.tiles import SIDE, Tile, show_tiles, truth_of, verdict_of
from pages.shared.runs.choice import choose_image, chosen_image
from pages.shared.segment.map_style import MapStyle
from pages.shared.segment.maps import MapView
from panda_core.figures.patches import data_url

PER_PAGE = 9
ALL, NORMAL, ANOMALOUS = "all images", "normal", "anomalous"
HIGHEST, LOWEST = "highest score first", "lowest score first"


def show_gallery(view: MapView, style: MapStyle) -> int:
    """Draw the choice of images and their order, and one page of them; return the chosen one."""
    shown, order = st.columns(2)
    groups = [ALL]
    if view.is_anomaly is not None:
        groups += [NORMAL] * bool((view.is_anomaly == 0).any()) + [ANOMALOUS] * bool(view.is_anomaly.any())
        groups += [kind for kind in view.names_of_kinds if kind not in groups]
    take_older_address("map_group", groups)
    take_older_address("map_order", (HIGHEST, LOWEST))
    group, first = (
        place.selectbox(label, options, format_func=str.capitalize, key=key, help=tip(key), bind="query-params")
        for place, label, options, key in (
            (shown, "Show", groups, "map_group"),
            (order, "Order", [HIGHEST, LOWEST], "map_order"),
        )
    )
    rows = ordered(view, group, first)
    pages = max(1, -(-len(rows) // PER_PAGE))
    # A key of its own for each choice: another one starts at its first page.
    page = st.pagination(pages, key=f"map-page-{group}-{first}", width="stretch") if pages > 1 else 1
    asked = chosen_image(len(view.maps.scores))
    chosen = int(rows[0]) if asked is None else asked
    show_tiles(
        [tile_of(view, style, int(image)) for image in rows[((page or 1) - 1) * PER_PAGE : (page or 1) * PER_PAGE]],
        key=f"map-gallery-{view.key}",
        label="Images with their maps, in the order of their scores",
        on_click=choose_image,
        chosen=chosen,
        side=92,
    )
    return chosen


def ordered(view: MapView, group: str, first: str) -> np.ndarray:
    """Return the images of a group, by their scores."""
    rows = np.argsort(view.maps.scores if first == LOWEST else -view.maps.scores, kind="stable")
    if group == ALL or view.is_anomaly is None:
        return rows
    if group in (NORMAL, ANOMALOUS):
        return rows[view.is_anomaly[rows] == (group == ANOMALOUS)]
    return rows if view.kinds is None else rows[(view.kinds[rows] == group) & (view.is_anomaly[rows] == 1)]


def tile_of(view: MapView, style: MapStyle, image: int) -> Tile:
    """Return an image with its map in small, its truth and verdict."""
    picture = view.picture(image, SIDE)
    drawn = "" if picture is None else data_url(style.drawn(picture, view.maps.full(image)))
    truth = truth_of(None if view.is_anomaly is None else bool(view.is_anomaly[image]))
    verdict = verdict_of(None if view.threshold is None else bool(view.rejected[image]))
    score = wording.amount(float(view.maps.scores[image]))
    return Tile(image, drawn, view.maps.names[image], truth, verdict, score)
