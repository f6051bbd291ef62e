"""Test images in order of their scores, page by page."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.images import find_images, tile
from pages.shared.runs.scored import ORDERS, Scored
from panda_core.runs.loaded import LoadedRun

PER_PAGE = 18
SIDE = 120  # pixels
IMAGE = "image"  # query parameter: the place of the chosen image among the test images


def chosen_image(found: Scored) -> int | None:
    """Return the image of the URL, or None: anything else there is passed over."""
    text = st.query_params.get(IMAGE, "")
    place = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
    return place if 0 <= place < len(found.scores) else None


def show_gallery(run: LoadedRun, found: Scored) -> None:
    """Draw the choice of an order, one page of images, and the buttons that choose one."""
    orders = [name for name in ORDERS if name not in ("false alarms", "missed") or len(found.order(name))]
    name = st.segmented_control(
        "Test images", orders, default=orders[0], key="order", help=tip("gallery"), bind="query-params", required=True
    )
    order = found.order(name or orders[0])
    st.caption(ORDERS[name or orders[0]])
    images, note = find_images(run, "test")
    if images is None:
        st.info(wording.sentence(note), icon=":material/hide_image:")
    pages = max(1, -(-len(order) // PER_PAGE))
    # A key of its own for each order: another order starts at its first page.
    page = st.pagination(pages, key=f"page-{name}", width="stretch") if pages > 1 else 1
    selected = chosen_image(found)
    with st.grid(6, min_column_width=92, gap="small"):
        for image in order[((page or 1) - 1) * PER_PAGE : (page or 1) * PER_PAGE]:
            with st.container(gap="xsmall"):
                _cell(run, found, int(image), shown=images is not None, chosen=image == selected)


def _cell(run: LoadedRun, found: Scored, image: int, *, shown: bool, chosen: bool) -> None:
    """Draw one image with its score; the button under it chooses it."""
    score, kind = found.scores[image], "anomalous" if found.is_anomaly[image] else "normal"
    if shown:
        picture = tile(run, "test", image, SIDE)
        if picture is not None:
            st.image(picture, width="stretch", alt=f"{found.names[image]}, {kind}, score {wording.amount(score)}")
        else:
            st.caption("cannot be read")
    st.button(
        wording.amount(score),
        key=f"look-{image}",
        type="primary" if chosen else "secondary",
        icon=_sign(found, image),
        width="stretch",
        help=f"{wording.sentence(found.names[image])}: {kind}. {tip('image')}",
        on_click=_choose,
        args=(image,),
    )


def _sign(found: Scored, image: int) -> str:
    """Return an icon for right or wrong at the threshold; without a threshold, one for the kind of image."""
    if found.threshold is None:
        return ":material/warning:" if found.is_anomaly[image] else ":material/circle:"
    return ":material/check:" if found.rejected[image] == bool(found.is_anomaly[image]) else ":material/close:"


def _choose(image: int) -> None:
    st.query_params[IMAGE] = str(image)
