"""Marking the part of pictures that counts: on one of them by hand, in numbers, or by a picture that is brought."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.component import board
from pages.shared.frame.glossary import tip
from pages.shared.frame.teaching import is_locked
from pages.shared.frame.thumbnails import embedded, enlarged
from panda_core.datasets.io.mask_pixels import read_marked
from panda_core.datasets.io.regions import read_region, region_of_pixels, write_region
from panda_core.errors import PandaError, UsageError
from panda_core.figures.patches import data_url
from panda_core.figures.strokes import Shapes, marked_by, shapes_of
from panda_core.region import Region, same_shape

_BOARD = board("panda_region", Path(__file__).with_name("region_board.html"))
FILE = "roi.png"  # what a region is kept as
SIDE = 900  # pixels of the board's longer side, and of the region that is drawn on it


@dataclasses.dataclass(frozen=True)
class Marking:
    """What is marked, and where that is kept.

    key: of the widgets. file: of the region; there is none while all of the picture counts.
    photos: what the pictures are of, told apart by it. photo: a number -> the name and the pixels (H, W, 3) of a
    picture to mark on; `PandaError` where there is none.
    told: of a region, what else is to be said of it, "" for nothing.
    """

    key: str
    file: Path
    photos: str
    photo: Callable[[int], tuple[str, np.ndarray]]
    told: Callable[[Region], str]

    @property
    def wanted(self) -> str:
        """The key of the switch, also the name by which an address locks it."""
        return f"{self.key}_wanted"

    def region(self) -> Region | None:
        """Return the region that is kept; None where all of the picture counts."""
        return read_region(str(self.file)) if self.file.is_file() else None

    def shown(self) -> tuple[str, np.ndarray]:
        """Return the name and the pixels of the picture that is marked on now."""
        return self.photo(int(st.session_state.get(f"{self.key}-photo", 0)))

    def marks(self) -> object:
        """Return what the board of this visit says; None where nothing was marked, or a picture has replaced it."""
        marks: object = st.session_state.get(self.key, {}).get("marks")
        return None if marks == st.session_state.get(f"{self.key}-replaced") else marks


def choose_region(marking: Marking) -> bool:
    """Draw the switch, and keep what was marked since; return whether a part of the pictures is to count."""
    wanted = st.toggle(
        "Only part of the picture matters",
        value=marking.file.is_file(),
        key=marking.wanted,
        help=tip("own_region"),
        disabled=is_locked(marking.wanted),
    )
    marks, kept = marking.marks(), f"{marking.key}-kept"
    if not wanted:
        marking.file.unlink(missing_ok=True)
        st.session_state.pop(kept, None)  # marks come back with the switch
    elif marks is not None and (marking.photos, marks) != st.session_state.get(kept):
        st.session_state[kept] = (marking.photos, marks)
        try:
            _keep(marking, shapes_of(marks))
        except PandaError as error:
            st.error(wording.sentence(str(error)), icon=":material/error:")
    return wanted


def show_region(marking: Marking) -> None:
    """Draw one of the pictures to mark on, what the marks come to, and the way to bring a picture instead."""
    key = marking.key
    if problem := st.session_state.pop(f"{key}-problem", ""):
        st.error(wording.sentence(problem), icon=":material/error:")
    try:
        name, photo = marking.shown()
        region = marking.region()
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    st.markdown("**Mark what counts.** Nothing outside of it is learned from, judged or measured.")
    shown, shapes = enlarged(photo, SIDE), shapes_of(marking.marks())
    _BOARD(
        key=key,
        data={
            "photo": f"{marking.photos}/{name}",
            "version": int(st.session_state.get(f"{key}-version", 0)),
            "picture": data_url(shown),
            "width": shown.shape[1],
            "height": shown.shape[0],
            "shapes": [[list(point) for point in shape] for shape in shapes.shapes],
            "swapped": shapes.swapped,
            "kept": "" if region is None else embedded(_veil(region, shown.shape)),
            "words": _words(marking, region),
        },
        on_marks_change=lambda: None,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button("Another photo", icon=":material/skip_next:", key=f"{key}-next", on_click=_next, args=(marking,))
        st.file_uploader(
            "Or bring a picture of it: white counts, black does not",
            type=["png", "bmp", "tif", "tiff"],
            key=f"{key}-file",
            help=tip("own_region_file"),
            on_change=_bring,
            args=(marking,),
        )


def _next(marking: Marking) -> None:
    st.session_state[f"{marking.key}-photo"] = int(st.session_state.get(f"{marking.key}-photo", 0)) + 1


def _keep(marking: Marking, shapes: Shapes) -> None:
    """Write what is marked as the region; without a mark there is none."""
    marking.file.unlink(missing_ok=True)
    if not shapes.shapes:
        return
    high, wide = marking.shown()[1].shape[:2]
    scale = min(1.0, SIDE / max(high, wide))
    marked = marked_by(shapes, (max(1, round(high * scale)), max(1, round(wide * scale))))
    if marked.all() or not marked.any():
        told = "all of the picture, so that nothing is left out" if marked.all() else "nothing of the picture"
        raise UsageError(f"What you marked leaves {told}. Undo a mark.")
    marking.file.parent.mkdir(parents=True, exist_ok=True)
    write_region(region_of_pixels(marked), marking.file)


def _bring(marking: Marking) -> None:
    """Take a picture for the region, in place of all marks; for the field of files."""
    key = marking.key
    if (given := st.session_state.get(f"{key}-file")) is None:
        return
    try:
        high, wide = marking.shown()[1].shape[:2]
        region = region_of_pixels(read_marked(given.getvalue(), given.name, black_and_white=True), given.name)
        if not same_shape((wide, high), (region.shape[1], region.shape[0])):
            raise UsageError(
                f"`{given.name}` has {region.shape[1]} x {region.shape[0]} pixels, the photos {wide} x {high}: not the "
                "same shape. Save it in the size of a photo."
            )
        marking.file.parent.mkdir(parents=True, exist_ok=True)
        write_region(region, marking.file)
    except PandaError as error:
        st.session_state[f"{key}-problem"] = str(error)
        return
    st.session_state[f"{key}-replaced"] = st.session_state.get(key, {}).get("marks")
    st.session_state[f"{key}-version"] = int(st.session_state.get(f"{key}-version", 0)) + 1


def _veil(region: Region, shape: tuple[int, ...]) -> np.ndarray:
    """Return RGBA (H, W, 4) that makes pale what does not count."""
    veil = np.full((shape[0], shape[1], 4), 255, np.uint8)
    veil[..., 3] = np.where(region.inside((shape[0], shape[1])), 0, 166)
    return veil


def _words(marking: Marking, region: Region | None) -> str:
    """Return in words what the region comes to."""
    if region is None:
        return "Nothing is marked yet: all of the picture counts."
    return " ".join([wording.counting(region.marked.mean()), marking.told(region)]).strip()
