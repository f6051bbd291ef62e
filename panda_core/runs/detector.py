"""A detector: scores, maps and verdicts of new images, from what a run learned. Importing it loads no torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from panda_core.config import RunConfig
from panda_core.datasets import ArrayImages, ImageSource, OneClassTask, balanced_subset, decode_image
from panda_core.datasets.io.regions import write_region
from panda_core.datasets.io.samples import Levels
from panda_core.datasets.own.folder import normal_files
from panda_core.errors import UsageError
from panda_core.events import RunStarted
from panda_core.metrics import auroc
from panda_core.region import Region
from panda_core.runs.calibration import RATE, Calibration, count_held_out, held_out_rows
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.estimator import PARAMETERS, Estimator
from panda_core.runs.folder import ROI, RunFolder
from panda_core.runs.given import (
    GivenImages,
    decode_given,
    image_of,
    in_known_range,
    labels_of,
    listed_images,
    name_of_given,
    named_region,
    region_given,
)
from panda_core.runs.kinds import Learned, kind_of
from panda_core.runs.reading import RecordedRun
from panda_core.runs.run import run
from panda_core.runs.segment.settings import adapted_run
from panda_core.runs.settings import levels_of_config
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.table import SEGMENTERS
from panda_core.segmentation.tiles import TileGrid, drawing_of

if TYPE_CHECKING:
    from panda_core.runs.segment.opened import Patchwise
    from panda_core.segmentation.results import PatchResult

BATCH, BATCH_OF_PHOTOS = 64, 4  # images, and large photos that are cut into tiles, that are decoded at once


class PandaDetector(Estimator):
    """Anomaly scores for new images. Higher = more anomalous.

    PandaDetector(recipe="panda-ses", steps=64).fit(images) learns from normal images alone; the arguments are
    fields of `RunConfig`, None means its default. `load_run(run).detector()` gives the detector of a finished run.
    roi: the region of interest, an image file, white where pictures count, or a bool array (H, W) in their shape.
    tiles: how many overlapping tiles lie along the longer side of large photos, or `auto`, where patches are compared.
    test_limit: as in a run; `fit` has no test images.

    It is an estimator of scikit-learn's kind: `clone`, pipelines, cross-validation and grid search take it. Labels are
    0 normal and 1 anomalous in `predict`, `fit` and `score`. `decision_function` and `score_samples` alone have the
    sign that scikit-learn gives them: higher = more normal.
    """

    learned_: Learned | None = None
    _region: Region | None = None
    _config: RunConfig | None = None  # with every default written out; of what was learned, not of what is set now

    def __init__(
        self,
        *,
        normal_class: str | None = None,
        recipe: str = RunConfig.recipe,
        scorer: str | None = None,
        backbone: str | None = None,
        image_size: int | None = None,
        feature_norm: str | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        eval_every: int | None = None,
        train_limit: int | None = None,
        test_limit: int | None = None,
        seed: int = RunConfig.seed,
        data_root: str | None = None,
        runs_dir: str | None = None,
        name: str = RunConfig.name,
        roi: str | os.PathLike[str] | np.ndarray | None = None,
        device: str = RunConfig.device,
        tiles: str | int | None = RunConfig.tiles,
        set: Mapping[str, int | float | str] | None = None,
    ) -> None:
        # As given, and checked by `fit`: scikit-learn makes, copies and changes estimators without a word from them.
        self.normal_class = normal_class
        self.recipe = recipe
        self.scorer = scorer
        self.backbone = backbone
        self.image_size = image_size
        self.feature_norm = feature_norm
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.eval_every = eval_every
        self.train_limit = train_limit
        self.test_limit = test_limit
        self.seed = seed
        self.data_root = data_root
        self.runs_dir = runs_dir
        self.name = name
        self.roi = roi
        self.device = device
        self.tiles = tiles
        self.set = set

    def fit(self, images: GivenImages | str | os.PathLike[str], y: object = None) -> PandaDetector:
        """Learn from normal images: paths, PIL images or uint8 (H, W, 3) arrays. Returns self.

        images: a sequence or a Dataset of them, see `panda_core.runs.given`; or a folder, arranged as for
            `--dataset folder:PATH`, whose normal images are taken, without those in `test/`.
        y: labels (N,), 0 normal, 1 anomalous: images with label 1 are left out. None where all are normal.
        A tenth is held out to calibrate the threshold. An image that cannot be decoded raises `UnreadableImage`.
        """
        asked = self._asked()
        # Unlike pathlib, this raises for no name that is too long, and takes no empty one for the current folder.
        if isinstance(images, (str, os.PathLike)) and os.path.isdir(images):  # noqa: PTH112
            images = normal_files(images, asked.normal_class)
        listed = listed_images(images)
        anomalous = np.zeros(len(listed), bool) if y is None else labels_of(y, len(listed))
        rows = np.flatnonzero(~anomalous)
        rows = rows[balanced_subset(anomalous[rows], asked.train_limit, asked.seed)]
        given = [image_of(listed[row]) for row in rows.tolist()]
        if len(given) < 2:
            raise UsageError(f"At least 2 normal images are needed; got {len(given)}. Add images.")
        names = [f"{index}: {name_of_given(image, index)}" for index, image in enumerate(given)]
        config, region = in_known_range(asked, given, names), region_given(self.roi)
        decoded = decode_given(given, levels=levels_of_config(config), region=region)
        train = ArrayImages(decoded, names)
        held_out = held_out_rows(len(train), config.seed) if count_held_out(len(train)) else np.arange(1)
        # The curves need a test set; without labelled images it is the held-out normals, and AUROC is undefined.
        task = OneClassTask(train, train.subset(held_out), np.zeros(len(held_out), np.uint8))
        adapted = {"adapted": str(found.path.resolve())} if (found := adapted_run(config)) else {}
        with tempfile.TemporaryDirectory(prefix="panda-") as folder:
            config = config.replace(runs_dir=folder, set={**config.set, **adapted})
            if region is not None:
                config = config.replace(roi=str(Path(folder) / ROI))
                write_region(region, Path(config.roi))
            (run_id,) = {event.run_id for event in run(config, task=task) if isinstance(event, RunStarted)}
            fitted = PandaDetector.of(RecordedRun(RunFolder(Path(folder) / run_id)))
        self.config = fitted.config.replace(runs_dir=asked.runs_dir, roi=asked.roi)
        self.learned_, self._region = fitted.learned_, region
        return self

    def _asked(self) -> RunConfig:
        """Return the config that the arguments ask for; `UsageError` where one cannot be used."""
        given = {name: value for name, value in self.get_params().items() if value is not None}
        return RunConfig(**{**given, "roi": named_region(self.roi)}, dataset=GIVEN_IMAGES)

    @property
    def config(self) -> RunConfig:
        """The config of what was learned, every default written out; before that, the one that is asked for."""
        return self._config or self._asked()

    @config.setter
    def config(self, config: RunConfig) -> None:
        self._config = config

    @property
    def region(self) -> Region | None:
        """What of an image counts, of what was learned; None: all of it."""
        return self._region

    @property
    def levels(self) -> Levels | None:
        """The sample values that are black and white in new images of more than 8 bits; None for their whole range.

        Arrays are taken as they are.
        """
        return levels_of_config(self.config)

    @staticmethod
    def of(recorded: RecordedRun, references: GivenImages | None = None) -> PandaDetector:
        """Return the detector of a run, or, of a run of `generalize`, that of the class of `references`."""
        kind, fields = kind_of(recorded.config), recorded.config.to_json()
        recorded.check_keeps_detector()
        detector = PandaDetector(**{name: fields[name] for name in PARAMETERS})
        detector.config, detector._region = recorded.config, recorded.region
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

    def anomaly_scores(self, images: GivenImages) -> np.ndarray:
        """Return float32 (M,), higher = more anomalous. images: paths, PIL images or uint8 (H, W, 3) arrays.

        An image's score does not depend on the others. One that cannot be decoded raises `UnreadableImage`.
        """
        learned, given = self._learned(), listed_images(images)
        scores = np.empty(len(given), np.float32)
        for rows in self._batches(len(given)):
            scores[rows.start : rows.stop] = learned.scores(self._looked_at(given, rows))
        return scores

    @property
    def has_maps(self) -> bool:
        """Whether it gives a map for each image: detectors of runs that compare patches do."""
        return kind_of(self.config).has_maps

    def check_maps(self) -> None:
        """Raise `UsageError` where the detector has no maps."""
        self._patchwise()

    def segment(self, images: GivenImages) -> PatchResult:
        """Return grids, scores and nearest normal patches of new images; segmentation runs alone have them."""
        from panda_core.segmentation.results import PatchResult

        learned, given = self._patchwise(), listed_images(images)
        if not len(given):
            raise UsageError("`images` must hold at least one image; got none. Add images.")
        return PatchResult.joined([learned.segment(self._looked_at(given, rows)) for rows in self._batches(len(given))])

    def anomaly_maps(self, images: GivenImages) -> np.ndarray:
        """Return float32 (M, S, S), higher = more anomalous; S is the run's `image_size`.

        A map lies over the whole image, squeezed into a square as the network sees it: at the multiple of 32 pixels
        nearest to S. With tiles it is (M, H, W), in the photo's aspect, at most 1,024 pixels long. 1 is as far from
        normal as held-out normal patches are on average. It is 0 outside of the region of interest. An image's map does
        not depend on the other images.
        """
        self.check_maps()
        given, (size, sigma) = listed_images(images), drawing_of(self.config)
        if not len(given):
            return np.empty((0, size, size), np.float32)
        return np.stack([full_map(grid, size, sigma, self.region) for grid in self.segment(given).grids])

    def predict(self, images: GivenImages, *, false_alarm_rate: float = RATE) -> np.ndarray:
        """Return int (M,): 1 anomalous, 0 normal, at the threshold that `threshold` returns."""
        self.threshold(false_alarm_rate)  # before any work: without held-out images, this raises
        return self.calibration.rejects(self.anomaly_scores(images), false_alarm_rate).astype(np.int64)

    def score_samples(self, images: GivenImages) -> np.ndarray:
        """Return float64 (M,), higher = more normal, as scikit-learn has it: anomaly scores, sign turned."""
        return -self.anomaly_scores(images).astype(np.float64)

    def decision_function(self, images: GivenImages, *, false_alarm_rate: float = RATE) -> np.ndarray:
        """Return float64 (M,), higher = more normal, as scikit-learn has it: below 0 where `predict` says 1.

        With labels that are 1 for anomalous images, scikit-learn's `scoring="roc_auc"` therefore gives 1 - AUROC.
        Leave `scoring` out: `score` is the AUROC.
        """
        threshold = self.threshold(false_alarm_rate)
        return self.score_samples(images) + threshold

    def score(self, images: GivenImages, y: object) -> float:
        """Return the AUROC of the anomaly scores, in [0, 1], higher = better: what cross-validation compares.

        y: labels (M,), 0 normal, 1 anomalous. NaN where one of the two is absent.
        """
        listed = listed_images(images)
        labels = labels_of(y, len(listed))
        found = auroc(self.anomaly_scores(listed), labels)
        return float("nan") if found is None else found

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

    def __sklearn_is_fitted__(self) -> bool:
        return self.learned_ is not None

    def decode(self, source: ImageSource, name: str) -> np.ndarray:
        """Return an image as it is scored by this detector, uint8 (H, W, 3), nothing of it painted over.

        `UnreadableImage`, by `name`, for one that cannot be decoded, or is not in the shape of the region of interest
        or of the photos that are cut into tiles.
        """
        image = decode_image(source, name, self.levels)
        if self.region is not None:
            self.region.check_fits(image, name)
        if self.grid is not None:
            self.grid.check_fits(image.shape, name)
        return image

    @property
    def shape(self) -> tuple[int, int] | None:
        """The (height, width) in proportion to which images must be; None where they may have any shape."""
        return self.region.shape if self.region is not None else self.grid.photo if self.grid is not None else None

    @property
    def blank(self) -> np.ndarray:
        """A black image (H, W, 3) that the detector takes: what is asked first, so that all is loaded."""
        return np.zeros((*(self.shape or (64, 64)), 3), np.uint8)

    @property
    def grid(self) -> TileGrid | None:
        """How photos are cut into tiles; None where each image is looked at whole."""
        return self._patchwise().tiles if self.has_maps else None

    def _batches(self, count: int) -> list[range]:
        """Return the numbers of images that are decoded and scored at once."""
        step = BATCH if self.grid is None else BATCH_OF_PHOTOS
        return [range(start, min(start + step, count)) for start in range(0, count, step)]

    def _looked_at(self, images: GivenImages, rows: range) -> list[np.ndarray]:
        """Return some of the images as uint8 (H, W, 3), with what does not count painted over."""
        return decode_given(images, rows, self.levels, self.region, self.grid)

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
