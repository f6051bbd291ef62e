"""Pictures that are chosen by a click. The frame is the truth, the badge the verdict, on every page alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from pages.shared.frame.component import component
from panda_core.figures import style

_GALLERY = component("panda_gallery", Path(__file__).with_name("gallery.html"))
SIDE = 120  # pixels of a picture
ACCEPTED, REJECTED = "accepted", "rejected"


@dataclasses.dataclass(frozen=True)
class Tile:
    """One picture.

    number: what a click hands over.
    picture: as an address that holds it; "" where it cannot be read.
    truth: "normal", "anomalous", or "" where it is unknown.
    verdict: `ACCEPTED`, `REJECTED`, or "" where there is none.
    note: a few words below the picture.
    """

    number: int
    picture: str
    name: str
    truth: str = ""
    verdict: str = ""
    note: str = ""


def truth_of(is_anomaly: bool | None) -> str:
    """Return the truth of a tile; None is for what nobody knows."""
    return "" if is_anomaly is None else ("anomalous" if is_anomaly else "normal")


def verdict_of(rejected: bool | None) -> str:
    """Return the verdict of a tile; None is for where there is no threshold."""
    return "" if rejected is None else (REJECTED if rejected else ACCEPTED)


def show_tiles(
    tiles: Sequence[Tile],
    *,
    key: str,
    label: str,
    on_click: Callable[[int], None],
    chosen: int | None = None,
    side: int = SIDE,
) -> None:
    """Draw pictures; on_click gets the number of the one that is clicked, of these alone.

    label: what the pictures are, for those who cannot see them. chosen: the number of the one that is marked.
    side: pixels, at least.
    """
    known = {tile.number for tile in tiles}

    def clicked() -> None:
        number = st.session_state[key].get("clicked")
        if isinstance(number, int) and number in known:  # it comes from a browser, which may send anything
            on_click(number)

    _GALLERY(
        key=key,
        data={
            "tiles": [dataclasses.asdict(tile) for tile in tiles],
            "chosen": chosen,
            "label": label,
            "side": side,
            "colours": {"normal": style.NORMAL, "anomalous": style.ANOMALOUS},
        },
        on_clicked_change=clicked,
    )
