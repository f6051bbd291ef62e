"""Images with their maps in small, in order of their scores; one of them is chosen."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import square
from pages.shared.runs.choice import choose_image, chosen_image
from pages.shared.segment.map_style import MapStyle
from pages.shared.segment.maps import MapView

PER_PAGE = 12
SIDE = 120  # pixels
ALL, NORMAL, ANOMALOUS = "all images", "normal", "anomalous"
HIGHEST, LOWEST = "highest score first", "lowest score first"


def show_gallery(view: MapView, style: MapStyle) -> int:
    """Draw the choice of images and their order, and one page of them; return the chosen one."""
    shown, order = st.columns(2)
    groups = [ALL]
    if view.is_anomaly is not None:
        groups += [NORMAL] * bool((view.is_anomaly == 0).any()) + [ANOMALOUS] * bool(view.is_anomaly.any())
        groups += [kind for kind in view.names_of_kinds if kind not in groups]
    group = shown.selectbox("Show", groups, key="map_group", help=tip("map_group"), bind="query-params")
    first = order.selectbox("Order", (HIGHEST, LOWEST), key="map_order", help=tip("map_order"), bind="query-params")
    rows = ordered(view, group, first)
    pages = max(1, -(-len(rows) // PER_PAGE))
    # A key of its own for each choice: another one starts at its first page.
    page = st.pagination(pages, key=f"map-page-{group}-{first}", width="stretch") if pages > 1 else 1
    asked = chosen_image(len(view.maps.scores))
    chosen = int(rows[0]) if asked is None else asked
    with st.grid(3, min_column_width=92, gap="small"):
        for image in rows[((page or 1) - 1) * PER_PAGE : (page or 1) * PER_PAGE]:
            with st.container(gap="xsmall"):
                _cell(view, style, int(image), chosen=int(image) == chosen)
    return chosen


def ordered(view: MapView, group: str, first: str) -> np.ndarray:
    """Return the images of a group, by their scores."""
    rows = np.argsort(view.maps.scores if first == LOWEST else -view.maps.scores, kind="stable")
    if group == ALL or view.is_anomaly is None:
        return rows
    if group in (NORMAL, ANOMALOUS):
        return rows[view.is_anomaly[rows] == (group == ANOMALOUS)]
    return rows if view.kinds is None else rows[(view.kinds[rows] == group) & (view.is_anomaly[rows] == 1)]


def _cell(view: MapView, style: MapStyle, image: int, *, chosen: bool) -> None:
    name, score, truth = view.maps.names[image], float(view.maps.scores[image]), view.truth(image)
    picture = view.picture(image, SIDE)
    label = f"{name}, {truth}" if truth else name
    if picture is not None:
        tile = square(style.drawn(picture, view.maps.full(image)), SIDE)
        st.image(tile, width="stretch", alt=f"{label}, with its map; score {wording.amount(score)}")
    elif view.images is not None:
        st.caption("cannot be read")
    st.button(
        wording.amount(score),
        key=f"map-look-{image}",
        type="primary" if chosen else "secondary",
        icon=_sign(view, image),
        width="stretch",
        help=f"{wording.sentence(label)}. {tip('image')}",
        on_click=choose_image,
        args=(image,),
    )


def _sign(view: MapView, image: int) -> str:
    """Return an icon for right or wrong at the threshold; where the truth is unknown, one for the verdict."""
    rejected = bool(view.rejected[image])
    if view.is_anomaly is None or view.threshold is None:
        anomalous = rejected if view.is_anomaly is None else bool(view.is_anomaly[image])
        return ":material/warning:" if anomalous else ":material/circle:"
    return ":material/check:" if rejected == bool(view.is_anomaly[image]) else ":material/close:"
