"""Test images in order of their scores, page by page."""

from __future__ import annotations

import streamlit as st

from pages.shared.examine.scores import ORDERS, StepScores
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import choose_image, chosen_image
from pages.shared.runs.images import find_images, tile
from panda_core.runs.loaded import LoadedRun

PER_PAGE = 18
SIDE = 120  # pixels


def show_gallery(run: LoadedRun, scored: StepScores) -> None:
    """Draw the choice of an order, one page of images, and the buttons that choose one."""
    orders = [name for name in ORDERS if name not in ("false alarms", "missed") or len(scored.order(name))]
    name = st.segmented_control(
        "Test images", orders, default=orders[0], key="order", help=tip("gallery"), bind="query-params", required=True
    )
    order = scored.order(name or orders[0])
    st.caption(ORDERS[name or orders[0]])
    images, note = find_images(run, "test")
    if images is None:
        st.info(wording.sentence(note), icon=":material/hide_image:")
    pages = max(1, -(-len(order) // PER_PAGE))
    # A key of its own for each order: another order starts at its first page.
    page = st.pagination(pages, key=f"page-{name}", width="stretch") if pages > 1 else 1
    selected = chosen_image(len(scored.scores))
    with st.grid(6, min_column_width=92, gap="small"):
        for image in order[((page or 1) - 1) * PER_PAGE : (page or 1) * PER_PAGE]:
            with st.container(gap="xsmall"):
                _cell(run, scored, int(image), shown=images is not None, chosen=image == selected)


def _cell(run: LoadedRun, scored: StepScores, image: int, *, shown: bool, chosen: bool) -> None:
    """Draw one image with its score; the button under it chooses it."""
    score, kind = scored.scores[image], "anomalous" if scored.is_anomaly[image] else "normal"
    if shown:
        picture = tile(run, "test", image, SIDE)
        if picture is not None:
            st.image(picture, width="stretch", alt=f"{scored.names[image]}, {kind}, score {wording.amount(score)}")
        else:
            st.caption("cannot be read")
    st.button(
        wording.amount(score),
        key=f"look-{image}",
        type="primary" if chosen else "secondary",
        icon=_sign(scored, image),
        width="stretch",
        help=f"{wording.sentence(scored.names[image])}: {kind}. {tip('image')}",
        on_click=choose_image,
        args=(image,),
    )


def _sign(scored: StepScores, image: int) -> str:
    """Return an icon for right or wrong at the threshold; without a threshold, one for the kind of image."""
    if scored.threshold is None:
        return ":material/warning:" if scored.is_anomaly[image] else ":material/circle:"
    return ":material/check:" if scored.rejected[image] == bool(scored.is_anomaly[image]) else ":material/close:"
