"""Small pictures: one image enlarged without blur, or several side by side as one sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from panda_core.datasets import Images, find_dataset
from panda_core.errors import UnreadableImage

TILE = 96  # pixels
SHOWN = 6
GAP = 6


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """Return uint8 (H, W, 3) as (side, side, 3) at most, its aspect kept.

    A small image is enlarged by whole pixels: smoothed, eight of them would be a grey cloud.
    """
    picture = Image.fromarray(image)
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return np.asarray(picture.resize(size, smooth))


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image as RGBA (side, side, 4), centered, with see-through margins."""
    small = enlarged(image, side)
    tile = np.zeros((side, side, 4), np.uint8)
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = np.dstack(
        [small, np.full(small.shape[:2], 255, np.uint8)]
    )
    return tile


def sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Return RGBA squares of one size side by side, as one image."""
    side = tiles[0].shape[0]
    joined = np.zeros((side, len(tiles) * (side + GAP) - GAP, 4), np.uint8)
    for index, tile in enumerate(tiles):
        joined[:, index * (side + GAP) : index * (side + GAP) + side] = tile
    return joined


def embedded(picture: np.ndarray) -> str:
    """Return a picture as an address that holds it.

    Other pictures are files of the server, which forgets them with the page they were on: a browser that is slow, or
    somebody who is fast, then asks for what is gone.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@st.cache_data(max_entries=32, show_spinner=False)
def class_sheets(
    dataset: str, data_root: str, normal_class: str, seed: int, side: int = TILE
) -> tuple[str | None, str | None]:
    """Return a sheet of random normal training images, and one of test images of other classes (None if none).

    Both as addresses: see `embedded`. side: of each image, in pixels.
    """
    splits = find_dataset(dataset).open(Path(data_root), normal_class, seed)
    rng = np.random.default_rng(seed)
    normal = np.nonzero(splits.train_labels == splits.normal_label)[0]
    others = np.nonzero(splits.test_labels != splits.normal_label)[0]
    return _sheet_of(splits.train, rng.permutation(normal), side), _sheet_of(splits.test, rng.permutation(others), side)


def _sheet_of(images: Images, rows: np.ndarray, side: int) -> str | None:
    tiles: list[np.ndarray] = []
    for row in rows:
        try:
            tiles.append(square(images.load(int(row)), side))
        except UnreadableImage:
            continue
        if len(tiles) == SHOWN:
            break
    return embedded(sheet(tiles)) if tiles else None
