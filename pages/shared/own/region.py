"""Which part of dropped photos counts: kept beside the photos, so that it goes where they go."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.region.marking import FILE, Marking
from panda_core.datasets import FileImages
from panda_core.datasets.io.headers import stored_size
from panda_core.errors import UnreadableImage, UsageError
from panda_core.region import Region, same_shape
from panda_core.runs.corrections import is_normal
from panda_core.runs.uploads import Upload

TURNED = 5  # from this EXIF orientation on, width and height are swapped


def region_of_upload(upload: Upload) -> str:
    """Return the file of the region of an upload; "" where all of its photos counts."""
    return str(upload.path / FILE) if (upload.path / FILE).is_file() else ""


def marking_of(upload: Upload) -> Marking:
    """Return how the region of an upload is marked: on its good photos."""

    def told(region: Region) -> str:
        others = _in_other_shapes(str(upload.images), tuple(sorted(upload.names())), region.shape)
        return f"{wording.count(others, 'photo')} in another shape will be left out." if others else ""

    return Marking(
        key=f"region-{upload.token}",
        file=upload.path / FILE,
        photos=upload.token,
        photo=lambda number: _photo(upload, number),
        told=told,
    )


def _photo(upload: Upload, number: int) -> tuple[str, np.ndarray]:
    """Return the place and the pixels (H, W, 3) of a photo to mark on, a good one."""
    places = sorted(place for place in upload.names() if is_normal(place))
    if not places:
        raise UsageError("There is no good photo to mark on. Drop some, or click on one that is not bad after all.")
    place = places[number % len(places)]
    return place, FileImages.below(upload.images, [place]).load(0)


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
