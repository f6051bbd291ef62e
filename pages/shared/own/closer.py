"""How closely large photos are looked at: whole, or in overlapping tiles, with the time that takes."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.config import TILES_OFF
from panda_core.runs.uploads import Upload
from panda_core.segmentation.detail import Detail, detail_of
from panda_core.segmentation.geometry import network_side
from panda_core.segmentation.tiles import canvas_side, same_aspect

_COUNTS = (2, 4, 8)  # tiles along the longer side that are offered; a terminal takes up to 16


def choose_tiles(upload: Upload, image_size: int) -> str:
    """Draw the choice where tiles show more of the photos than a look at all of each; return what was chosen."""
    photo = upload.understood.largest
    counts = [count for count in _COUNTS if canvas_side(network_side(image_size), count) <= max(photo)]
    if not counts:
        return TILES_OFF
    chosen = st.segmented_control(
        "Look closer",
        [TILES_OFF, *map(str, counts)],
        default=TILES_OFF,
        key=f"own_tiles_{image_size}",
        format_func=lambda tiles: _label(detail_of(photo, image_size, tiles=tiles)),
        help=tip("own_tiles"),
        required=True,
    )
    tiles = chosen or TILES_OFF
    if tiles != TILES_OFF and not same_aspect(upload.understood.smallest, photo):
        size = " × ".join(f"{side:,}" for side in upload.understood.smallest)
        words = f"Not all photos have one shape (some are {size} px). Those unlike most are left out, and named."
        st.caption(wording.sentence(words))
    return tiles


def _label(detail: Detail) -> str:
    """Return what a number of tiles means, short: on a phone four of these stand in a row."""
    if detail.grid is None:
        return "Whole"
    down, across = detail.grid.tiles
    return f"{across} × {down} tiles"


def told(detail: Detail, *, maps: bool) -> str:
    """Return what can be seen, and how many times as long it takes, in words. maps: whether a map says where."""
    seen = detail.sentence(maps=maps)
    return seen if detail.grid is None else f"{seen} That takes up to {detail.times} times as long as whole photos."
