"""What a segmentation run says of a set of images, and where those images are: all that the viewer needs."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
import streamlit as st

from pages.shared.frame.thumbnails import enlarged
from pages.shared.runs.choice import find_run
from pages.shared.runs.images import find_images
from panda_core.datasets import FileImages, Images, Masks
from panda_core.errors import BrokenRun, PandaError, UnreadableImage
from panda_core.figures.heatmaps import Scale, faded, fixed_scale
from panda_core.region import Region
from panda_core.runs.arrays import MapArrays
from panda_core.runs.calibration import RATE, Calibration, calibration_at
from panda_core.runs.loaded import LoadedRun
from panda_core.segmentation.geometry import Cells
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of

LARGE = 1024  # pixels, the longer side of the large picture: sharp on a screen twice as fine


@dataclasses.dataclass(frozen=True)
class Maps:
    """The maps of M images at one step.

    scores: (M,), of each image; higher = more anomalous.
    peaks: (M,), the highest value of each full map.
    grids: (M, g, g), a value for each patch.
    distances: for each group of levels, (M, h, w, k), to the k nearest normal patches; empty for a recorded
        run that is there for its maps alone.
    origins: (M, h, w, k, 4) for each: image, turn, row and column of those patches.
    cells: where the patches of each group lie, in shares of the image's height; its width is that of its grid.
    calibration: of the network that made the maps.
    size: the longer side of a full map, in pixels.
    sigma: its blur, in pixels of an input of side 224.
    region: what of the images counts; None: all.
    """

    names: list[str]
    scores: np.ndarray
    peaks: np.ndarray
    grids: np.ndarray
    distances: tuple[np.ndarray, ...]
    origins: tuple[np.ndarray, ...]
    cells: tuple[Cells, ...]
    calibration: Calibration
    size: int
    sigma: float
    region: Region | None = None

    def full(self, image: int) -> np.ndarray:
        """Return the map (H, W) of one image."""
        return full_map(self.grids[image], self.size, self.sigma, self.region)

    @cached_property
    def scale(self) -> Scale:
        """The colours of all images of the run."""
        return fixed_scale(self.calibration.map_low, self.calibration.map_middle, self.grids)

    def percentile(self, image: int) -> float | None:
        """Return the percentage of held-out normal images that score below an image; None without held-out ones."""
        return self.calibration.percentile(float(self.scores[image]))

    def hottest(self, image: int) -> tuple[int, int]:
        """Return the row and column of the patch with the highest value."""
        row, column = np.unravel_index(int(self.grids[image].argmax()), self.grids[image].shape)
        return int(row), int(column)


@dataclasses.dataclass(frozen=True)
class MapView:
    """The images that are looked at, with their maps: a run's test images, or others that were checked with it.

    key: of these images among all that are kept in memory.
    images: None where they are gone.
    note: why they are.
    is_anomaly: (M,), None where unknown.
    kinds: (M,), of anomaly; None where unknown.
    marked: (M,), whether it is known which pixels are defective.
    references: the normal images that patches were compared with, where these are not the run's own.
    rate: of false alarms that are allowed.
    """

    run: LoadedRun
    key: str
    maps: Maps
    images: Images | None
    note: str
    is_anomaly: np.ndarray | None
    kinds: np.ndarray | None
    marked: np.ndarray
    references: FileImages | None = None
    rate: float = RATE

    @property
    def threshold(self) -> float | None:
        """The score above which an image is rejected; None where no normal image was held out."""
        return self.maps.calibration.threshold(self.rate)

    @cached_property
    def rejected(self) -> np.ndarray:
        """Whether each image is rejected, bool (M,): by its score, never by its map."""
        return self.maps.calibration.rejects(self.maps.scores, self.rate)

    def picture(self, image: int, side: int = LARGE) -> np.ndarray | None:
        """Return an image as RGB with its longer side `side`, what does not count pale; None if it cannot be read."""
        found, region = (
            None if self.images is None else picture_of(self.images, self.key, image, side),
            self.maps.region,
        )
        return (
            found if found is None or region is None else faded(found, region.inside((found.shape[0], found.shape[1])))
        )

    def mask(self, image: int) -> np.ndarray | None:
        """Return which pixels are defective, bool of any size, or None where nobody knows."""
        return _mask(self.run.run_id, image) if self.marked[image] else None

    def truth(self, image: int) -> str:
        """Return what the image is called in its data set, "normal", or nothing where that is unknown."""
        if self.is_anomaly is None:
            return ""
        if not self.is_anomaly[image]:
            return "normal"
        return str(self.kinds[image]) if self.kinds is not None else "anomalous"

    @cached_property
    def names_of_kinds(self) -> list[str]:
        """The kinds of anomalies among these images."""
        if self.kinds is None or self.is_anomaly is None:
            return []
        return sorted({str(kind) for kind in self.kinds[self.is_anomaly == 1]})


def view_of(run: LoadedRun, step: int, rate: float = RATE) -> MapView:
    """Return the test images of a run, compared with the network at `step`; rate: of false alarms that are allowed."""
    images, note = find_images(run, "test")
    split, maps = run.split, maps_of(run, step)
    kinds = _kinds(run.run_id) if images is not None else None
    is_anomaly = np.asarray(split.is_anomaly, int)
    if len(is_anomaly) != len(maps.scores):
        raise BrokenRun(f"Run `{run.run_id}` lists other images than it has maps for. Compute it again.")
    marked = np.asarray(split.has_mask or np.zeros(len(is_anomaly)), bool)
    if images is None:
        marked = np.zeros(len(is_anomaly), bool)
    return MapView(run, run.run_id, maps, images, note, is_anomaly, kinds, marked, rate=rate)


def maps_of(run: LoadedRun, step: int) -> Maps:
    """Return the maps of a run's test images at a step."""
    path = run.folder.maps_file(step)
    return _maps_at(run.run_id, step, path.stat().st_mtime_ns if path.exists() else 0)


@st.cache_resource(max_entries=12, show_spinner=False)
def _maps_at(run_id: str, step: int, changed: int) -> Maps:
    """Return the maps; changed: when their file was written, so that a run computed anew is read anew."""
    run = opened(run_id)
    arrays, maps = run.patch_arrays(step), run.maps(step)
    calibration = run.calibration if step == run.segmented[-1].step else calibration_at(run, step)
    return joined(run, list(run.split.test), arrays.scores, arrays.peaks, maps, calibration)


def joined(
    run: LoadedRun,
    names: list[str],
    scores: np.ndarray,
    peaks: np.ndarray,
    maps: MapArrays,
    calibration: Calibration,
) -> Maps:
    """Return the parts of a set of maps as one."""
    size, sigma = drawing_of(run.config)
    return Maps(
        names=names,
        scores=np.asarray(scores, np.float64),
        peaks=np.asarray(peaks, np.float64),
        grids=np.asarray(maps.grids, np.float32),
        distances=maps.distances,
        origins=maps.origins,
        cells=_cells(maps),
        calibration=calibration,
        size=size,
        sigma=sigma,
        region=run.region,
    )


def _cells(maps: MapArrays) -> tuple[Cells, ...]:
    """Return where the patches of each group lie; where that was not recorded, they divide the image evenly."""
    if maps.cells is None:
        return tuple(Cells.even(1, group.shape[1]) for group in maps.distances)
    return tuple(Cells(stride, (row, column)) for stride, row, column in maps.cells.tolist())


def opened(run_id: str) -> LoadedRun:
    """Return the run called `run_id`; `PandaError` if it is gone."""
    folder = find_run(run_id)
    if folder is None:
        raise PandaError("The run is gone.")
    return LoadedRun(folder)


@st.cache_resource(max_entries=4, show_spinner=False)
def _kinds(run_id: str) -> np.ndarray | None:
    return opened(run_id).kinds()


@st.cache_data(max_entries=1500, max_size="40MB", show_spinner=False)
def _mask(run_id: str, image: int) -> np.ndarray | None:
    masks = _masks(run_id)
    try:
        return None if masks is None else masks.load(image)
    except UnreadableImage:
        return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _masks(run_id: str) -> Masks | None:
    return opened(run_id).masks()


@st.cache_data(max_entries=600, max_size="40MB", show_spinner=False)
def picture_of(_images: Images, key: str, image: int, side: int) -> np.ndarray | None:
    """Return an image as RGB with its longer side `side`, or None; key: what these images are called in memory."""
    try:
        return enlarged(_images.load(image), side)
    except UnreadableImage:
        return None
