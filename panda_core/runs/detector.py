"""A detector: scores, maps and verdicts of new images, from what a run learned. Importing it loads no torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from panda_core.config import RunConfig
from panda_core.datasets import ArrayImages, FileImages, ImageSource, OneClassTask
from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.io.ranges import DATA, levels_of_range
from panda_core.datasets.io.samples import Levels
from panda_core.errors import UsageError
from panda_core.events import RunStarted
from panda_core.runs.calibration import RATE, Calibration, count_held_out, held_out_rows
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import Learned, kind_of
from panda_core.runs.reading import RecordedRun
from panda_core.runs.run import run
from panda_core.runs.segment.settings import adapted_run
from panda_core.runs.settings import RANGE, levels_of_config
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.table import SEGMENTERS

if TYPE_CHECKING:
    from panda_core.runs.segment.opened import Patchwise
    from panda_core.segmentation.model import PatchResult

BATCH = 64
_ACCEPTED = "a list of images (paths, PIL images or uint8 arrays of shape (H, W, 3)), or a uint8 array (N, H, W, 3)"


class PandaDetector:
    """Anomaly scores for new images. Higher = more anomalous.

    PandaDetector(recipe="panda-ses", steps=64).fit(images) learns from normal images alone; the arguments are
    fields of `RunConfig`. `load_run(run).detector()` gives the detector of a finished run.

    levels: the sample values that are black and white in new images of more than 8 bits; None for their whole range.
        Arrays are taken as they are.
    """

    def __init__(self, **config: Any) -> None:
        self.config = RunConfig(**{**config, "dataset": GIVEN_IMAGES})
        self.learned_: Learned | None = None
        self.levels: Levels | None = None

    def fit(self, images: Sequence[ImageSource]) -> PandaDetector:
        """Learn from normal images: paths, PIL images or uint8 (H, W, 3) arrays. Returns self.

        A tenth is held out to calibrate the threshold. An image that cannot be decoded raises `UnreadableImage`.
        """
        given = listed_images(images)
        if len(given) < 2:
            raise UsageError(f"At least 2 normal images are needed; got {len(given)}. Add images.")
        names = [f"{index}: {name_of_given(image, index)}" for index, image in enumerate(given)]
        config = self._in_known_range(given, names)
        train = ArrayImages(decode_given(given, levels=levels_of_config(config)), names)
        held_out = held_out_rows(len(train), self.config.seed) if count_held_out(len(train)) else np.arange(1)
        # The curves need a test set; without labelled images it is the held-out normals, and AUROC is undefined.
        task = OneClassTask(train, train.subset(held_out), np.zeros(len(held_out), np.uint8))
        adapted = {"adapted": str(found.path.resolve())} if (found := adapted_run(self.config)) else {}
        with tempfile.TemporaryDirectory(prefix="panda-") as folder:
            config = config.replace(runs_dir=folder, set={**config.set, **adapted})
            (run_id,) = {event.run_id for event in run(config, task=task) if isinstance(event, RunStarted)}
            fitted = PandaDetector.of(RecordedRun(RunFolder(Path(folder) / run_id)))
        self.config, self.learned_ = fitted.config.replace(runs_dir=self.config.runs_dir), fitted.learned_
        self.levels = fitted.levels
        return self

    def _in_known_range(self, given: Sequence[ImageSource], names: Sequence[str]) -> RunConfig:
        """Return the config with its `range` in numbers; `data` needs image files."""
        if self.config.set.get(RANGE) != DATA:
            return self.config
        paths = [image for image in given if isinstance(image, (str, os.PathLike))]
        if len(paths) != len(given):
            raise UsageError("`range=data` needs paths of image files; got images of another kind. Give LOW-HIGH.")
        levels = levels_of_range(DATA, FileImages(paths, names))
        return self.config.replace(set={**self.config.set, RANGE: str(levels)})

    @staticmethod
    def of(recorded: RecordedRun, references: Sequence[ImageSource] | None = None) -> PandaDetector:
        """Return the detector of a run, or, of a run of `generalize`, that of the class of `references`."""
        detector, kind = PandaDetector(), kind_of(recorded.config)
        detector.config, detector.levels = recorded.config, levels_of_config(recorded.config)
        if references is None:
            detector.learned_ = kind.open(recorded)
        else:
            decoded = decode_given(listed_images(references), levels=detector.levels)
            detector.learned_ = kind.open_with(recorded, decoded)
        return detector

    @property
    def calibration(self) -> Calibration:
        """What the calibrating normal images say of others: threshold, verdict, percentile, expected false alarms."""
        return self._learned().calibration

    @property
    def held_out_scores(self) -> np.ndarray:
        """Scores (H,) of the calibrating normal images; empty if there were too few images to hold any out."""
        return self.calibration.scores

    def anomaly_scores(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Return float32 (M,), higher = more anomalous. images: paths, PIL images or uint8 (H, W, 3) arrays.

        An image's score does not depend on the others. One that cannot be decoded raises `UnreadableImage`.
        """
        learned, given = self._learned(), listed_images(images)
        scores = np.empty(len(given), np.float32)
        for start in range(0, len(given), BATCH):
            decoded = decode_given(given[start : start + BATCH], start, self.levels)
            scores[start : start + BATCH] = learned.scores(decoded)
        return scores

    @property
    def has_maps(self) -> bool:
        """Whether it gives a map for each image: detectors of runs that compare patches do."""
        return kind_of(self.config).has_maps

    def check_maps(self) -> None:
        """Raise `UsageError` where the detector has no maps."""
        self._patchwise()

    def segment(self, images: Sequence[ImageSource]) -> PatchResult:
        """Return grids, scores and nearest normal patches of new images; segmentation runs alone have them."""
        from panda_core.segmentation.model import PatchResult

        learned, given = self._patchwise(), listed_images(images)
        if not len(given):
            raise UsageError("`images` must hold at least one image; got none. Add images.")
        starts = range(0, len(given), BATCH)
        return PatchResult.joined(
            [learned.segment(decode_given(given[start : start + BATCH], start, self.levels)) for start in starts]
        )

    def anomaly_maps(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Return float32 (M, S, S), higher = more anomalous; S is the run's `image_size`.

        A map lies over the whole image, squeezed into a square as the network sees it: at the multiple of 32 pixels
        nearest to S. 1 is as far from normal as held-out normal patches are on average. An image's map does not depend
        on the other images.
        """
        size = int(self.config.image_size or 0)
        self.check_maps()
        given = listed_images(images)
        grids = self.segment(given).grids if len(given) else np.empty((0, 1, 1), np.float32)
        maps = np.empty((len(grids), size, size), np.float32)
        for row, grid in enumerate(grids):
            maps[row] = full_map(grid, size, float(self.config.set["sigma"]))
        return maps

    def predict(self, images: Sequence[ImageSource], *, false_alarm_rate: float = RATE) -> np.ndarray:
        """Return int (M,): 1 anomalous, 0 normal, at the threshold that `threshold` returns."""
        self.threshold(false_alarm_rate)  # before any work: without held-out images, this raises
        return self.calibration.rejects(self.anomaly_scores(images), false_alarm_rate).astype(np.int64)

    def threshold(self, false_alarm_rate: float = RATE) -> float:
        """Return the score above which an image is called anomalous; see `panda_core.runs.calibration`.

        `UsageError` where no normal image was held out.
        """
        threshold = self.calibration.threshold(false_alarm_rate)
        if threshold is None:
            raise UsageError("A threshold needs at least one held-out normal image; got none. Fit 4 images or more.")
        return threshold

    def percentiles(self, scores: np.ndarray) -> np.ndarray:
        """Return for scores (M,) the percentage of held-out normal images that score lower: (M,) in [0, 100].

        `UsageError` where no normal image was held out.
        """
        self.threshold()  # without held-out images, this raises: 0 % would be an answer that nobody measured
        return np.array([self.calibration.percentile(float(score)) for score in scores], np.float64)

    def _learned(self) -> Learned:
        if self.learned_ is None:
            raise UsageError(
                "This detector has learned nothing yet. Call `fit(images)`, or use `load_run(run).detector()`."
            )
        return self.learned_

    def _patchwise(self) -> Patchwise:
        learned = self._learned()
        if not self.has_maps:
            raise UsageError(
                f"Recipe `{self.config.recipe}` scores whole images and has no maps. "
                f"Use a segmentation run: `--recipe {next(iter(SEGMENTERS))}`."
            )
        return cast("Patchwise", learned)


# Images handed over in Python: what every method that takes images accepts, and the sentence for everything else.


def listed_images(images: object) -> Sequence[ImageSource]:
    """Return `images` as a sequence of images; `UsageError` says what was given instead, and how to give it.

    images: a list, a tuple or another sequence of paths, PIL images or uint8 arrays (H, W), (H, W, 1), (H, W, 3) or
    (H, W, 4); or one uint8 array (N, H, W, C) of so many images. One image, however it is given, is no list of images:
    its rows would be taken for images.
    """
    if isinstance(images, (str, bytes, os.PathLike, Image.Image)):
        kind = "the path of one" if isinstance(images, (str, os.PathLike)) else "one image"
        raise UsageError(f"`images` must be {_ACCEPTED}; got {kind}. Pass `[image]`.")
    if isinstance(images, np.ndarray):
        if images.ndim in (2, 3):
            raise UsageError(
                f"`images` must be {_ACCEPTED}; got one array of shape {images.shape}. Pass `[image]`, or grey images "
                "as an array (N, H, W, 1)."
            )
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3, 4):
            raise UsageError(
                f"`images` must be {_ACCEPTED}; got an array of {images.dtype} and shape {images.shape}. "
                "Convert it to uint8, channels last."
            )
        return list(images)
    if isinstance(images, dict) or not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise UsageError(f"`images` must be {_ACCEPTED}; got {type(images).__name__}. Pass `list(images)`.")
    return images  # type: ignore[return-value]


def name_of_given(image: object, index: int) -> str:
    """Return what to call image number `index` of a list in front of a person."""
    return str(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode_given(images: Sequence[ImageSource], start: int = 0, levels: Levels | None = None) -> list[np.ndarray]:
    """Return images as uint8 arrays (H, W, 3). start: number of the first, for its name. levels: see `decode_image`.

    One that cannot be decoded raises `UnreadableImage`; one that is no image at all raises `UsageError`.
    """
    decoded = []
    for index, image in enumerate(images, start):
        if not isinstance(image, (str, bytes, os.PathLike, Image.Image, np.ndarray)):
            raise UsageError(
                f"Image {index} must be a path, a PIL image or a uint8 array; got {type(image).__name__}. Convert it."
            )
        decoded.append(decode_image(image, name_of_given(image, index), levels))
    return decoded
