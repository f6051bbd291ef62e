"""The region of interest of a form: marked on normal images of its data set, kept until a run takes a copy along.

It lies in a folder with a random name, like an upload, and goes when those go. The address holds that name, or the id
of the run whose region it is, so that a reload and *Run it again* bring it back.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from pathlib import Path

import numpy as np
import streamlit as st

from pages.shared.forms.named import address
from pages.shared.frame import wording
from pages.shared.region.marking import FILE, Marking, choose_region
from pages.shared.runs.choice import find_run
from panda_core.config import RunConfig, default_data_root
from panda_core.datasets import find_dataset
from panda_core.datasets.io.places import uploads_folder
from panda_core.datasets.io.regions import read_region, write_region
from panda_core.errors import PandaError, UnreadableImage, UsageError
from panda_core.region import Region, same_shape
from panda_core.runs.folder import ROI
from panda_core.runs.owner import TOKEN

PARAMETER = "region"  # of the address, after the form's own prefix
LOOKED_AT = 30  # normal images whose shapes are compared with the region's


def choose_form_region(prefix: str, dataset: str, normal_class: str | None) -> tuple[str, Marking | None]:
    """Draw the switch; return the file of the region, "" for all of the picture, and what is marked while it is on.

    prefix: of the form's widgets.
    """
    marking = _marking(prefix, dataset, normal_class or "")
    wanted = choose_region(marking)
    marked = wanted and marking.file.is_file()
    address(prefix + PARAMETER, marking.file.parent.name if marked else "")
    return str(marking.file) if marked else "", marking if wanted else None


def check_region(config: RunConfig) -> None:
    """Raise `UsageError` for a config with a region in whose shape none of its images is."""
    if not config.roi:
        return
    region = read_region(config.roi)
    others, looked = _in_other_shapes(config.dataset, config.data_root, config.normal_class or "", region.shape)
    if looked and others == looked:
        raise UsageError(
            f"The region of interest has {region.shape[1]} x {region.shape[0]} pixels, and none of "
            f"{wording.count(looked, 'image')} looked at is in that shape. Mark it on one of these images."
        )


def forget_region(prefix: str) -> None:
    """Have a form begin without a region: for buttons that fill it in anew."""
    key = f"{prefix}{PARAMETER}"
    _forget(key)
    st.query_params.pop(key, None)


def _forget(key: str) -> None:
    for name in [name for name in st.session_state if str(name).startswith(key)]:
        del st.session_state[name]


def _marking(prefix: str, dataset: str, normal_class: str) -> Marking:
    key, root = f"{prefix}{PARAMETER}", default_data_root()

    def told(region: Region) -> str:
        others, looked = _in_other_shapes(dataset, root, normal_class, region.shape)
        if not others:
            return ""
        verb = "is" if others == 1 else "are"
        return f"Of {looked} images looked at, {others} {verb} in another shape: such images will be left out."

    return Marking(
        key=key,
        file=_place(key) / FILE,
        photos=f"{dataset}/{normal_class}",
        photo=lambda number: _photo(dataset, root, normal_class, number),
        told=told,
    )


def _place(key: str) -> Path:
    """Return the folder of this visit's region; one that the address names, or that of its run, is taken over.

    A form that is opened anew has what its address says, as in all its other fields: a region that was marked for
    other images, and is still known, would count for these as well.
    """
    name, asked = f"{key}_folder", st.query_params.get(key, "")
    if f"{key}_wanted" not in st.session_state and st.session_state.get(name, asked) != asked:
        _forget(key)
    if name not in st.session_state:
        known = TOKEN.fullmatch(asked) and (uploads_folder() / asked / FILE).is_file()
        st.session_state[name] = asked if known else secrets.token_hex(16)
        run = None if known or not asked else find_run(asked)
        if run is not None and (run.path / ROI).is_file():
            place = uploads_folder() / st.session_state[name]
            place.mkdir(parents=True, exist_ok=True)
            write_region(read_region(str(run.path / ROI)), place / FILE)
    return uploads_folder() / str(st.session_state[name])


def _in_other_shapes(dataset: str, root: str, normal_class: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many of the images looked at are not in the shape (height, width) of a region, and of how many."""
    try:
        looked = _looked_at(dataset, root, normal_class)
    except PandaError:  # the form says what is wrong with them
        return 0, 0
    return sum(not same_shape((wide, high), (shape[1], shape[0])) for _, (high, wide) in looked), len(looked)


@st.cache_data(max_entries=32, show_spinner=False)
def _photo(dataset: str, root: str, normal_class: str, number: int) -> tuple[str, np.ndarray]:
    """Return the name and the pixels (H, W, 3) of one of the images looked at."""
    looked = _looked_at(dataset, root, normal_class)
    if not looked:
        raise UsageError("There is no normal image to mark on. Choose other images.")
    images = find_dataset(dataset).open(Path(root), normal_class, 0).train
    row = looked[number % len(looked)][0]
    return images.names[row], images.load(row)


@st.cache_data(max_entries=32, show_spinner=False)
def _looked_at(dataset: str, root: str, normal_class: str) -> list[tuple[int, tuple[int, int]]]:
    """Return row and (height, width) of some normal training images, those in the most frequent shape first."""
    splits = find_dataset(dataset).open(Path(root), normal_class, 0)
    rows = np.nonzero(splits.train_labels == splits.normal_label)[0]
    found: list[tuple[int, tuple[int, int]]] = []
    for row in rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(int)].tolist():
        with contextlib.suppress(UnreadableImage):  # it is named where the run reads it
            high, wide = splits.train.load(row).shape[:2]
            found.append((row, (high, wide)))
    frequent = Counter(shape for _, shape in found)
    return sorted(found, key=lambda one: -frequent[one[1]])
