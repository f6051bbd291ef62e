"""Which part of dropped photos counts: marked on one of them by hand, in numbers, or brought as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.component import board
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import embedded, enlarged
from pages.shared.own.removal import MESSAGE
from panda_core.datasets import FileImages
from panda_core.datasets.io.headers import stored_size
from panda_core.datasets.io.mask_pixels import read_marked
from panda_core.datasets.io.regions import read_region, region_of_pixels, write_region
from panda_core.errors import PandaError, UnreadableImage, UsageError
from panda_core.figures.patches import data_url
from panda_core.figures.strokes import Shapes, marked_by, shapes_of
from panda_core.region import Region, same_shape
from panda_core.runs.corrections import is_normal
from panda_core.runs.uploads import Upload

_BOARD = board("panda_region", Path(__file__).with_name("region_board.html"))
FILE = "roi.png"  # beside the photos of an upload
SIDE = 900  # pixels of the board's longer side, and of the region that is drawn on it
TURNED = 5  # from this EXIF orientation on, width and height are swapped
_WANTED, _PHOTO = "own_region", "own_region_photo"


def region_of_upload(upload: Upload) -> str:
    """Return the file of the region of an upload; "" where all of its photos counts."""
    return str(upload.path / FILE) if (upload.path / FILE).is_file() else ""


def choose_region(upload: Upload) -> bool:
    """Draw the switch, and keep what was marked since; return whether a part of the photos is to count."""
    wanted = st.toggle(
        "Only part of the picture matters",
        value=bool(region_of_upload(upload)),
        key=f"{_WANTED}-{upload.token}",
        help=tip("own_region"),
    )
    key, marks = _key(upload), _marks(upload)
    if not wanted:
        (upload.path / FILE).unlink(missing_ok=True)
        st.session_state.pop(f"{key}-kept", None)  # marks come back with the switch
    elif marks is not None and marks != st.session_state.get(f"{key}-kept"):
        st.session_state[f"{key}-kept"] = marks
        try:
            _keep(upload, shapes_of(marks))
        except PandaError as error:
            st.error(wording.sentence(str(error)), icon=":material/error:")
    return wanted


def show_region(upload: Upload) -> None:
    """Draw one of the photos to mark on, what the marks come to, and the way to bring a picture instead."""
    try:
        place, photo = _photo(upload)
        region = _region(upload)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    st.markdown("**Mark what counts.** Nothing outside of it is learned from, judged or measured.")
    key, shown = _key(upload), enlarged(photo, SIDE)
    shapes = shapes_of(_marks(upload))
    _BOARD(
        key=key,
        data={
            "photo": f"{upload.token}/{place}",
            "version": int(st.session_state.get(f"{key}-version", 0)),
            "picture": data_url(shown),
            "width": shown.shape[1],
            "height": shown.shape[0],
            "shapes": [[list(point) for point in shape] for shape in shapes.shapes],
            "swapped": shapes.swapped,
            "kept": "" if region is None else embedded(_veil(region, shown.shape)),
            "words": _told(upload, region),
        },
        on_marks_change=lambda: None,
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button("Another photo", icon=":material/skip_next:", key="own-region-next", on_click=_next)
        st.file_uploader(
            "Or bring a picture of it: white counts, black does not",
            type=["png", "bmp", "tif", "tiff"],
            key=f"{key}-file",
            help=tip("own_region_file"),
            on_change=_bring,
            args=(upload,),
        )


def _key(upload: Upload) -> str:
    return f"region-{upload.token}"


def _next() -> None:
    st.session_state[_PHOTO] = int(st.session_state.get(_PHOTO, 0)) + 1


def _photo(upload: Upload) -> tuple[str, np.ndarray]:
    """Return the place and the pixels (H, W, 3) of the photo to mark on, a good one."""
    places = sorted(place for place in upload.names() if is_normal(place))
    if not places:
        raise UsageError("There is no good photo to mark on. Drop some, or click on one that is not bad after all.")
    place = places[int(st.session_state.get(_PHOTO, 0)) % len(places)]
    return place, FileImages.below(upload.images, [place]).load(0)


def _marks(upload: Upload) -> object:
    """Return what the board of this visit says; None where nothing was marked, or a picture has replaced it."""
    marks: object = st.session_state.get(_key(upload), {}).get("marks")
    return None if marks == st.session_state.get(f"{_key(upload)}-replaced") else marks


def _keep(upload: Upload, shapes: Shapes) -> None:
    """Write what is marked as the region of an upload; without a mark it has none."""
    (upload.path / FILE).unlink(missing_ok=True)
    if not shapes.shapes:
        return
    high, wide = _photo(upload)[1].shape[:2]
    scale = min(1.0, SIDE / max(high, wide))
    marked = marked_by(shapes, (max(1, round(high * scale)), max(1, round(wide * scale))))
    if marked.all() or not marked.any():
        told = "all of the picture, so that nothing is left out" if marked.all() else "nothing of the picture"
        raise UsageError(f"What you marked leaves {told}. Undo a mark.")
    write_region(region_of_pixels(marked), upload.path / FILE)


def _bring(upload: Upload) -> None:
    """Take a picture for the region of an upload, in place of all marks; for the field of files."""
    key = _key(upload)
    if (given := st.session_state.get(f"{key}-file")) is None:
        return
    try:
        high, wide = _photo(upload)[1].shape[:2]
        region = region_of_pixels(read_marked(given.getvalue(), given.name), given.name)
        if not same_shape((wide, high), (region.shape[1], region.shape[0])):
            raise UsageError(
                f"`{given.name}` has {region.shape[1]} x {region.shape[0]} pixels, the photos {wide} x {high}: not the "
                "same shape. Save it in the size of a photo."
            )
        write_region(region, upload.path / FILE)
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    st.session_state[f"{key}-replaced"] = st.session_state.get(key, {}).get("marks")
    st.session_state[f"{key}-version"] = int(st.session_state.get(f"{key}-version", 0)) + 1


def _region(upload: Upload) -> Region | None:
    file = region_of_upload(upload)
    return read_region(file) if file else None


def _veil(region: Region, shape: tuple[int, ...]) -> np.ndarray:
    """Return RGBA (H, W, 4) that makes pale what does not count."""
    veil = np.full((shape[0], shape[1], 4), 255, np.uint8)
    veil[..., 3] = np.where(region.inside((shape[0], shape[1])), 0, 166)
    return veil


def _told(upload: Upload, region: Region | None) -> str:
    """Return in words what the region comes to."""
    if region is None:
        return "Nothing is marked yet: all of the picture counts."
    others = _in_other_shapes(str(upload.images), tuple(sorted(upload.names())), region.shape)
    told = f"{100 * region.marked.mean():.0f} % of the picture counts."
    if others:
        told += f" {wording.count(others, 'photo')} in another shape will be left out."
    return told


@st.cache_data(max_entries=32, show_spinner=False)
def _in_other_shapes(folder: str, places: tuple[str, ...], shape: tuple[int, int]) -> int:
    """Return how many photos are not in the shape (height, width) of a region; their headers alone are read."""
    found = 0
    for place in places:
        try:
            (width, height), turn = stored_size(f"{folder}/{place}", place)
        except UnreadableImage:  # it is named where it is decoded
            continue
        size: Any = (height, width) if turn >= TURNED else (width, height)
        found += not same_shape(size, (shape[1], shape[0]))
    return found
