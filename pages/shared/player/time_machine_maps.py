"""The heatmap in the time machine: the segmentation that belongs to an adaptation, its film, and how it is started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import enlarged
from pages.shared.runs.choice import all_runs, is_recorded
from pages.shared.runs.images import find_images
from pages.shared.runs.live import show_computing
from panda_core.backbones import find_backbone
from panda_core.config import RunConfig
from panda_core.errors import PandaError, UnreadableImage, UsageError
from panda_core.figures import MapsAt, map_film
from panda_core.figures.patches import data_url
from panda_core.runs.calibration import calibration_at
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.folder import CHECKPOINTS, ENDED, MAPS, RunFolder
from panda_core.runs.kinds import resolve
from panda_core.runs.launch import start
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.settings import MAP_SIZE
from panda_core.segmentation.table import SEGMENTERS

FEWEST = 12  # test images of a segmentation that is to be shown: as many as the strip has
CORESET = 0.02  # of the normal patches: drawing a bank of them takes longest, and every checkpoint needs its own
MOST_NORMAL, MOST_TEST = 200, 100  # images that each checkpoint looks at: more take long and show no more
SIDE = 200  # pixels of a picture, the longer side
_FAILED = "heatmaps_failed"


def find_maps(run: LoadedRun) -> RunFolder | None:
    """Return the finished segmentation with maps of most steps of `run`, the newest of several; None without any."""
    finished = [folder for folder in segmentations_of(run) if folder.state().state == "finished"]
    return max(finished, key=lambda folder: len(_mapped_steps(folder)), default=None)


def segmentations_of(run: LoadedRun) -> list[RunFolder]:
    """Return the segmentations that use the checkpoints of `run` on its own test images, the newest first.

    An id is the last part of the path that they name: random enough to tell runs apart. A smaller share of the test
    set, drawn by the same seed, is a part of a larger one.
    """
    return [folder for folder in all_runs() if _belongs(folder, run)]


def _belongs(folder: RunFolder, run: LoadedRun) -> bool:
    try:
        config = folder.config()
    except PandaError:  # the Runs page says what is wrong with it
        return False
    named = str(config.set.get("adapted") or "").replace("\\", "/").rsplit("/", 1)[-1]
    if config.recipe not in SEGMENTERS or named != run.run_id:
        return False
    same = all(getattr(config, key) == getattr(run.config, key) for key in ("dataset", "normal_class", "seed"))
    return same and (config.test_limit is None or config.test_limit >= FEWEST)


def _mapped_steps(folder: RunFolder) -> set[int]:
    return set(folder.steps_in(MAPS))


def same_images(run: LoadedRun, maps: LoadedRun) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the test images of `run` that `maps` has as well, and their rows there; matched by name."""
    row_of = {str(name): row for row, name in enumerate(maps.split.test)}
    rows = [row for row, name in enumerate(run.split.test) if str(name) in row_of]
    there = [row_of[str(run.split.test[row])] for row in rows]
    return np.array(rows, dtype=int), np.array(there, dtype=int)


def film_of(run: LoadedRun, maps: LoadedRun, steps: Sequence[int], rows: Sequence[int]) -> dict[str, Any]:
    """Return the film of test images of `run`, and their pictures where its data is here; {} where there is no map."""
    known, there = same_images(run, maps)
    map_row = dict(zip(known.tolist(), there.tolist(), strict=True))
    mapped_steps = _mapped_steps(maps.folder)
    chosen = np.array([map_row[row] for row in rows], dtype=int)
    moments = [_maps_at(maps, step, chosen) if step in mapped_steps else None for step in steps]
    config = maps.config
    film = map_film(
        moments,
        size=int(config.image_size or MAP_SIZE),
        sigma=float(config.set.get("sigma", 0)),
        region=maps.region,
    )
    return film and {**film, "run": maps.run_id, "pictures": [_picture(run, row) for row in rows]}


def _maps_at(maps: LoadedRun, step: int, chosen: np.ndarray) -> MapsAt:
    arrays, grids, calibration = maps.patch_arrays(step), maps.maps(step), calibration_at(maps, step)
    return MapsAt(
        grids.grids[chosen],
        arrays.peaks[chosen],
        grids.held_out_grids.astype(np.float32),
        calibration.map_low,
        calibration.map_middle,
    )


def _picture(run: LoadedRun, row: int) -> str:
    """Return a test image as the address of a picture that holds itself; "" where it cannot be read."""
    images, _ = find_images(run, "test")
    try:
        return "" if images is None else data_url(enlarged(images.load(row), SIDE))
    except UnreadableImage:
        return ""


def maps_config(run: LoadedRun) -> RunConfig:
    """Return the settings of a segmentation with the network of every checkpoint; `PandaError` says why there is none.

    Its images are among those of the run. Of up to `MOST_NORMAL` normal ones, those that are held out are the same.
    """
    config = run.config
    if config.dataset == GIVEN_IMAGES:
        raise UsageError("This run was made of images handed over in Python, which were not kept to make maps of.")
    if not find_backbone(str(config.backbone)).pretrained:
        raise UsageError(
            f"Heatmaps compare the stages of a pretrained network, and `{config.backbone}` is none. "
            "Adapt another network to see them."
        )
    return resolve(
        RunConfig(
            recipe="patchcore",
            dataset=config.dataset,
            normal_class=config.normal_class,
            backbone=config.backbone,
            train_limit=min(config.train_limit or MOST_NORMAL, MOST_NORMAL),
            test_limit=min(config.test_limit or MOST_TEST, MOST_TEST),
            seed=config.seed,
            name=f"{wording.run_title(config)}, maps at each step",
            set={"adapted": str(run.folder.path.resolve()), "checkpoint": "all", "coreset": CORESET},
        )
    )


def offer_maps(run: LoadedRun) -> None:
    """Draw the button that computes the maps of a run which has checkpoints alone; meanwhile, how far they are."""
    checkpoints = set(run.folder.steps_in(CHECKPOINTS))
    if is_recorded(run.folder) or not checkpoints:
        return
    begun = segmentations_of(run)
    computing = next((folder for folder in begun if folder.state().state not in ENDED), None)
    if computing is not None:
        show_computing(computing)
        return
    maps = find_maps(run)
    measured = {event.step for event in run.evaluated}
    if run.state().state not in ENDED or (maps is not None and checkpoints & measured <= _mapped_steps(maps)):
        return  # its last checkpoint is still to come, or there is nothing left to compute
    if problem := st.session_state.pop(_FAILED, "") or (begun[0].state().reason if begun else ""):
        st.warning(f"The heatmaps were not computed. {wording.sentence(problem)}", icon=":material/info:")
    try:
        config = maps_config(run)
    except PandaError as error:
        st.caption(f"This run has no heatmaps. {wording.sentence(str(error))}")
        return
    st.button(
        "Compute its heatmaps",
        icon=":material/center_focus_strong:",
        key="compute_heatmaps",
        help=tip("compute_heatmaps"),
        on_click=_start,
        args=(config,),
    )


def _start(config: RunConfig) -> None:
    try:
        start(config)
    except PandaError as error:
        st.session_state[_FAILED] = str(error)
