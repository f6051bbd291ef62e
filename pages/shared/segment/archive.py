"""All maps of a set of images as one zip file: pictures, numbers, and a table that says which is which."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import BinaryIO

import cv2
import numpy as np
import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import enlarged
from pages.shared.runs.downloads import downloadable
from pages.shared.segment.maps import MapView
from panda_core.errors import UnreadableImage, UsageError
from panda_core.figures.heatmaps import heated
from panda_core.records import plain_cell

MOST = 1000  # images
SIDE = 480  # pixels, the longer side of an overlay
COLUMNS = ("file", "image", "truth", "score", "verdict", "highest_map_value", "percentile_of_held_out")


def download_maps(view: MapView, name: str) -> None:
    """Draw the button that makes and downloads all maps as `maps-NAME.zip`."""
    st.download_button(
        "Download all maps",
        data=lambda: maps_zipped(view),
        file_name=f"maps-{name}.zip",
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
        key="map-download",
        help=tip("map_download"),
    )


def maps_zipped(view: MapView) -> BinaryIO:
    """Return an open temporary file with `scores.csv` and, for each image, its map; it vanishes when closed.

    `maps/0007.npy` holds float16 (S, S), over the whole image; `overlays/0007.png` the image under the run's one
    scale of colours. More than `MOST` images raise `UsageError`.
    """
    count = len(view.maps.scores)
    if count > MOST:
        raise UsageError(
            f"Run `{view.run.run_id}` has {count} maps, more than {MOST}. Write those of a folder of "
            f"images instead: `python -m panda_core score {view.run.run_id} FOLDER --maps OUT`."
        )
    scale = view.maps.scale
    file = downloadable()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("scores.csv", scores_table(view))
        for image in range(count):
            values = view.maps.full(image)
            archive.writestr(f"maps/{image:04d}.npy", _npy(values.astype(np.float16)))
            picture = _picture(view, image)
            if picture is not None:
                overlay = _png(heated(picture, values, scale))
                archive.writestr(f"overlays/{image:04d}.png", overlay, zipfile.ZIP_STORED)  # a PNG is packed already
    file.seek(0)
    return file


def scores_table(view: MapView) -> str:
    """Return the table of all images as CSV. Names are text: one that looks like a formula gets an apostrophe."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(COLUMNS)
    for image, name in enumerate(view.maps.names):
        percentile = view.maps.percentile(image)
        table.writerow(
            [
                f"{image:04d}",
                plain_cell(name),
                plain_cell(view.truth(image)),
                f"{view.maps.scores[image]:.6g}",
                view.maps.calibration.verdict(float(view.maps.scores[image]), view.rate),
                f"{view.maps.peaks[image]:.6g}",
                "" if percentile is None else f"{percentile:.1f}",
            ]
        )
    return written.getvalue()


def _npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def _picture(view: MapView, image: int) -> np.ndarray | None:
    """Return an image as the viewer does, but smaller, and not kept in memory: there may be hundreds."""
    try:
        return None if view.images is None else enlarged(view.images.load(image), SIDE)
    except UnreadableImage:
        return None


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
