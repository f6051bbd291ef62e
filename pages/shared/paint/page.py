"""Paint a scratch on a normal part, and see at once what a detector makes of it: it compares, and learns nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.component import board
from pages.shared.frame.thumbnails import embedded, enlarged
from pages.shared.gallery.tiles import Tile, show_tiles
from pages.shared.runs.choice import find_run, has_maps
from pages.shared.runs.images import find_images
from panda_core.errors import PandaError, UnreadableImage
from panda_core.figures import style
from panda_core.figures.heatmaps import FADED, Scale, coloured, faded, fixed_scale
from panda_core.figures.patches import data_url
from panda_core.figures.strokes import Stroke, painted, strokes_of
from panda_core.runs.calibration import RATE
from panda_core.runs.folder import BANKS, RunFolder
from panda_core.runs.launch import Compared, compare, open_detector
from panda_core.runs.loaded import LoadedRun
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of

_BOARD = board("panda_board", Path(__file__).with_name("board.html"))
PARTS = 6  # normal images to choose from
SIDE = 72  # pixels of one of them
SMALLEST = 600  # pixels of the board's longer side: a small image is drawn larger, so that strokes are smooth
OPACITY = 0.75
_PART = "painted_part"


def can_paint(folder: RunFolder) -> bool:
    """Return whether a run has maps, and the bank of normal patches that a painted part is compared with."""
    return has_maps(folder) and bool(folder.steps_in(BANKS)) and folder.state().state == "finished"


def show_painting(run: LoadedRun, rate: float | None) -> None:
    """Draw a choice of normal parts and the board, for a run with maps whose detector is there."""
    images, note = find_images(run, "test")
    (normal,) = np.nonzero(np.asarray(run.split.is_anomaly) == 0)
    normal = normal[np.argsort(run.scores_at(run.segmented[-1].step)[normal])]  # the most ordinary ones first
    if images is None or not len(normal):
        st.info(wording.sentence(note or "There is no normal image to paint on."), icon=":material/hide_image:")
        return
    open_detector(run.folder)
    left, right = st.columns([1, 5.5], gap="medium")
    left.markdown("Draw with the mouse or a finger. Nothing is learned: the part is compared with normal ones.")
    if run.region is not None:
        left.caption(FADED)
    parts = [int(row) for row in normal[:PARTS]]
    chosen = st.session_state.get(_PART)
    chosen = chosen if chosen in parts else parts[0]
    if len(parts) > 1:
        with left:
            show_tiles(
                [
                    Tile(row, data_url(enlarged(images.load(row), 2 * SIDE)), f"Part {number}")
                    for number, row in enumerate(parts, 1)
                ],
                key=f"parts-{run.run_id}",
                label="Normal parts to paint on",
                on_click=lambda row: st.session_state.update({_PART: row}),
                chosen=chosen,
                side=SIDE,
            )
    with right:
        st.fragment(_board)(run, chosen, RATE if rate is None else rate)


def _board(run: LoadedRun, part: int, rate: float) -> None:
    key = f"board-{run.run_id}-{part}"
    strokes = strokes_of(st.session_state.get(key, {}).get("strokes"))
    try:
        image = _image(run.run_id, part)
        before = _untouched(run.run_id, part)
        said = compare(run.folder, painted(image, strokes)) if strokes else before
    except (PandaError, UnreadableImage) as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    sharper = max(1, round(SMALLEST / max(image.shape[:2])))
    _BOARD(
        key=key,
        data={
            "part": f"{run.run_id}/{part}",
            "picture": data_url(image if run.region is None else faded(image, run.region.inside(image.shape[:2]))),
            "width": image.shape[1] * sharper,
            "height": image.shape[0] * sharper,
            "strokes": [_as_sent(stroke) for stroke in strokes],
            "count": len(strokes),
            "colours": {"normal": style.NORMAL, "anomalous": style.ANOMALOUS},
            **_answer(run, said, before, rate),
        },
        on_strokes_change=lambda: None,
    )


def _answer(run: LoadedRun, said: Compared, before: Compared, rate: float) -> dict[str, Any]:
    """Return map and score of a painted part, as the board shows them."""
    calibration = run.calibration
    threshold = calibration.threshold(rate)
    scale = fixed_scale(calibration.map_low, calibration.map_middle, before.grid[None])
    words = f"Score {wording.amount(before.score)} untouched, {wording.amount(said.score)} now"
    if threshold is not None:
        verdict = calibration.verdict(said.score, rate)
        words += f"; the threshold is {wording.amount(threshold)}: " + (
            "rejected." if verdict == "anomalous" else "accepted."
        )
    return {
        "score": said.score,
        "before": before.score,
        "threshold": threshold,
        "rejected": calibration.verdict(said.score, rate) == "anomalous",
        "most": 1.15 * max(said.score, before.score, threshold or 0.0, 1e-12),
        "words": words,
        "heat": _heat(run, said.grid, scale),
    }


def _heat(run: LoadedRun, grid: np.ndarray, scale: Scale) -> str:
    """Return a map as a see-through picture, as an address that holds it; "" for a detector without maps."""
    if not grid.size:
        return ""
    colours = coloured(full_map(grid, *drawing_of(run.config), run.region), scale)
    colours[..., 3] = (OPACITY * colours[..., 3]).astype(np.uint8)
    return embedded(colours)


def _as_sent(stroke: Stroke) -> dict[str, Any]:
    return {
        "points": [list(point) for point in stroke.points],
        "colour": stroke.colour,
        "width": stroke.width,
        "filled": stroke.filled,
    }


@st.cache_data(max_entries=64, max_size="100MB", show_spinner=False)
def _image(run_id: str, part: int) -> np.ndarray:
    """Return a test image of a run."""
    images, note = find_images(_opened(run_id), "test")
    if images is None:
        raise PandaError(note)
    return images.load(part)


@st.cache_data(max_entries=64, show_spinner="Opening the detector")
def _untouched(run_id: str, part: int) -> Compared:
    return compare(_opened(run_id).folder, _image(run_id, part))


def _opened(run_id: str) -> LoadedRun:
    folder = find_run(run_id)
    if folder is None:
        raise PandaError("The run is gone.")
    return LoadedRun(folder)
