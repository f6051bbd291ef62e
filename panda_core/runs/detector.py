"""A detector: an adapted network, the normal features it knows, a scorer, and held-out normals to compare with."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones import find_backbone
from panda_core.backbones.network import Network
from panda_core.config import RunConfig
from panda_core.datasets import ArrayImages, ImageSource, OneClassTask
from panda_core.datasets.io.given import decode_given, listed_images, name_of_given
from panda_core.errors import BrokenRun, UsageError
from panda_core.events import RunStarted, result_of
from panda_core.features.space import FeatureNorm, space_features
from panda_core.features.trunk import compute_trunk
from panda_core.methods.learner import Learner
from panda_core.methods.options import OWN
from panda_core.methods.stopping import aggregate, used_checkpoints
from panda_core.methods.table import find_recipe
from panda_core.runs.adapt.loop import new_learner
from panda_core.runs.calibration import RATE, Calibration, count_held_out, held_out_rows
from panda_core.runs.plan import GIVEN_IMAGES, choose_device
from panda_core.runs.run import run
from panda_core.runs.segment.loop import joined
from panda_core.runs.segment.opened import Patchwise, patchwise
from panda_core.runs.segment.settings import adapted_run
from panda_core.runs.tensors import read_gallery, read_head, read_space, read_tail
from panda_core.scoring.table import find_scorer
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.model import Segmented
from panda_core.segmentation.table import SEGMENTERS

if TYPE_CHECKING:
    from panda_core.runs.loaded import LoadedRun

BATCH = 64


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One adapted tail, what the recipe keeps beside it, and what normal images score on average.

    scorer: fitted to the normal features of this checkpoint, or None where the recipe scores images itself.
    """

    tail: dict[str, Tensor]
    head: dict[str, Tensor]
    scorer: Any
    normaliser: float


class Learned(Protocol):
    """All that `fit` learns."""

    @property
    def calibration(self) -> Calibration:
        """What normal images that were not learned from say of others."""

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the scores (B,) of decoded images."""


@dataclasses.dataclass(frozen=True)
class Adapted:
    """What an adaptation learns: a network at the checkpoints of its stop rule. dtype: of cached activations."""

    network: Network
    learner: Learner
    norm: FeatureNorm
    checkpoints: tuple[Checkpoint, ...]
    stop: str
    calibration: Calibration
    image_size: int
    dtype: str
    device: torch.device

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the scores (B,) of decoded images."""
        activations = compute_trunk(
            images, self.network, image_size=self.image_size, dtype=self.dtype, device=self.device
        )
        history = []
        for checkpoint in self.checkpoints:
            self.network.tail.load_state_dict(checkpoint.tail, strict=False)
            features = result_of(space_features(self.network.tail, self.norm, activations, self.device))
            if checkpoint.scorer is None:
                self.learner.keep(**checkpoint.head)
                history.append(result_of(self.learner.scores(activations, features)))
            else:
                history.append(checkpoint.scorer.score(features))
        scores = np.stack(history)  # (T, B)
        return aggregate(self.stop, scores, np.array([checkpoint.normaliser for checkpoint in self.checkpoints])).scores


class PandaDetector:
    """Anomaly scores for new images. Higher = more anomalous.

    PandaDetector(recipe="panda-ses", steps=64).fit(images) learns from normal images alone; the arguments are
    fields of `RunConfig`. `load_run(run).detector()` gives the detector of a finished run.
    """

    def __init__(self, **config: Any) -> None:
        self.config = RunConfig(**{**config, "dataset": GIVEN_IMAGES})
        self.learned_: Learned | None = None

    def fit(self, images: Sequence[ImageSource]) -> PandaDetector:
        """Learn from normal images: paths, PIL images or uint8 (H, W, 3) arrays. Returns self.

        A tenth is held out to calibrate the threshold. An image that cannot be decoded raises `UnreadableImage`.
        """
        from panda_core.runs.loaded import load_run

        given = listed_images(images)
        if len(given) < 2:
            raise UsageError(f"At least 2 normal images are needed; got {len(given)}. Add images.")
        names = [f"{index}: {name_of_given(image, index)}" for index, image in enumerate(given)]
        train = ArrayImages(decode_given(given), names)
        held_out = held_out_rows(len(train), self.config.seed) if count_held_out(len(train)) else np.arange(1)
        # The curves need a test set; without labelled images it is the held-out normals, and AUROC is undefined.
        task = OneClassTask(train, train.subset(held_out), np.zeros(len(held_out), np.uint8))
        adapted = {"adapted": str(found.path.resolve())} if (found := adapted_run(self.config)) else {}
        with tempfile.TemporaryDirectory(prefix="panda-") as folder:
            config = self.config.replace(runs_dir=folder, set={**self.config.set, **adapted})
            (run_id,) = {event.run_id for event in run(config, task=task) if isinstance(event, RunStarted)}
            fitted = load_run(run_id, folder).detector()
        self.config, self.learned_ = fitted.config.replace(runs_dir=self.config.runs_dir), fitted.learned_
        return self

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
            scores[start : start + BATCH] = learned.scores(decode_given(given[start : start + BATCH], start))
        return scores

    def check_maps(self) -> None:
        """Raise `UsageError` where the detector has no maps."""
        self._patchwise()

    def segment(self, images: Sequence[ImageSource]) -> Segmented:
        """Return grids, scores and nearest normal patches of new images; segmentation runs alone have them."""
        learned, given = self._patchwise(), listed_images(images)
        if not len(given):
            raise UsageError("`images` must hold at least one image; got none. Add images.")
        starts = range(0, len(given), BATCH)
        return joined([learned.segment(decode_given(given[start : start + BATCH], start)) for start in starts])

    def anomaly_maps(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Return float32 (M, S, S), higher = more anomalous; S is the run's input side.

        A map lies over the whole image, squeezed into a square as the network sees it. 1 is as far from normal as
        held-out normal patches are on average. An image's map does not depend on the other images.
        """
        size = int(self.config.image_size or 0)
        self.check_maps()
        given = listed_images(images)
        grids = self.segment(given).grids if len(given) else np.empty((0, 1, 1), np.float32)
        maps = np.empty((len(grids), size, size), np.float32)
        for place, grid in enumerate(grids):
            maps[place] = full_map(grid, size, float(self.config.set["sigma"]))
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
        """Return for scores (M,) the percentage of held-out normal images that score lower: (M,) in [0, 100]."""
        return np.array([self.calibration.percentile(float(score)) or 0.0 for score in scores])

    def _learned(self) -> Learned:
        if self.learned_ is None:
            raise UsageError(
                "This detector has learned nothing yet. Call `fit(images)`, or use `load_run(run).detector()`."
            )
        return self.learned_

    def _patchwise(self) -> Patchwise:
        learned = self._learned()
        if not isinstance(learned, Patchwise):
            raise UsageError(
                f"Recipe `{self.config.recipe}` scores whole images and has no maps. "
                f"Use a segmentation run: `--recipe {next(iter(SEGMENTERS))}`."
            )
        return learned


def detector_of_run(loaded: LoadedRun) -> PandaDetector:
    """Return the detector of a run: of its stop rule where it is finished, else of its last checkpoint."""
    detector = PandaDetector()
    detector.config = loaded.config
    if loaded.is_segmentation:
        detector.learned_ = patchwise(loaded)
        return detector
    if not loaded.evaluated:
        raise BrokenRun(f"Run `{loaded.run_id}` has no checkpoint yet. Wait for its first evaluation, or resume it.")
    config, folder = loaded.config, loaded.folder
    finished, stop = loaded.metrics is not None, find_recipe(config.recipe).stop
    used = used_checkpoints(loaded.evaluated, stop if finished else "last", config.set.get("ses_start"))
    steps = [event.step for event in used]
    device = choose_device(config.device)
    network: Network = find_backbone(str(config.backbone)).load(str(config.set["cut"])).to(device)
    space = read_space(folder.path / "space.safetensors", network, str(config.feature_norm))
    detector.learned_ = Adapted(
        network=network,
        learner=new_learner(config, network, device),
        norm=FeatureNorm.from_tensors(str(config.feature_norm), network.level_widths, space),
        checkpoints=tuple(_checkpoint(loaded, network, space, step) for step in steps),
        stop=stop if finished else "last",
        calibration=loaded.calibration,
        image_size=int(config.image_size or 0),
        dtype=str(config.set["cache_dtype"]),
        device=device,
    )
    return detector


def generalizer_of_run(loaded: LoadedRun, references: Sequence[ImageSource]) -> PandaDetector:
    """Return a detector of a run that generalises, for the class of `references`."""
    from panda_core.runs.few_shot.opened import judge_of_run

    detector = PandaDetector()
    detector.config = loaded.config
    decoded = decode_given(listed_images(references))
    detector.learned_ = judge_of_run(loaded, decoded)
    return detector


def _checkpoint(loaded: LoadedRun, network: Network, space: dict[str, Tensor], step: int) -> Checkpoint:
    config, folder = loaded.config, loaded.folder.path
    file, scorer = folder / "checkpoints" / f"{step:06d}.safetensors", None
    if config.scorer != OWN:
        row = find_scorer(str(config.scorer))
        options = {key: config.set[key] for key in row.options}
        gallery = read_gallery(folder / "galleries" / f"{step:06d}.safetensors", space).numpy()
        scorer = row.build(seed=config.seed, **options).fit(gallery)
    return Checkpoint(
        tail=read_tail(file, network),
        head=read_head(file),
        scorer=scorer,
        normaliser=float(loaded.arrays(step)["normaliser"]),
    )
