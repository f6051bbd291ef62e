"""Test images in order of their scores, page by page."""

from __future__ import annotations

import streamlit as st

from pages.shared.examine.scores import ORDERS, StepScores
from pages.shared.forms.sections import take_older_address
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import embedded
from pages.shared.gallery.tiles import SIDE, Tile, show_tiles, truth_of, verdict_of
from pages.shared.runs.choice import choose_image
from pages.shared.runs.images import find_images, tile
from panda_core.runs.loaded import LoadedRun

PER_PAGE = 18


def show_gallery(run: LoadedRun, scored: StepScores, chosen: int) -> None:
    """Draw the choice of an order, and one page of images; a click chooses another than `chosen`, which is marked."""
    orders = [name for name in ORDERS if name not in ("false alarms", "missed") or len(scored.order(name))]
    take_older_address("order", orders)
    name = st.segmented_control(
        "Test images",
        orders,
        default=orders[0],
        format_func=str.capitalize,
        key="order",
        help=tip("gallery"),
        bind="query-params",
        required=True,
        wrap=True,
    )
    order = scored.order(name or orders[0])
    st.caption(ORDERS[name or orders[0]])
    images, note = find_images(run, "test")
    if images is None:
        st.info(wording.sentence(note), icon=":material/hide_image:")
    pages = max(1, -(-len(order) // PER_PAGE))
    # A key of its own for each order: another order starts at its first page.
    page = st.pagination(pages, key=f"page-{name}", width="stretch") if pages > 1 else 1
    show_tiles(
        [
            _tile(run, scored, int(image), shown=images is not None)
            for image in order[((page or 1) - 1) * PER_PAGE : (page or 1) * PER_PAGE]
        ],
        key="gallery",
        label=f"Test images, {name or orders[0]}",
        on_click=choose_image,
        chosen=chosen,
        side=92,
    )


def _tile(run: LoadedRun, scored: StepScores, image: int, *, shown: bool) -> Tile:
    picture = tile(run, "test", image, SIDE) if shown else None
    truth = truth_of(bool(scored.is_anomaly[image]))
    verdict = verdict_of(None if scored.threshold is None else bool(scored.rejected[image]))
    score = wording.amount(scored.scores[image])
    return Tile(image, "" if picture is None else embedded(picture), scored.names[image], truth, verdict, score)
