"""A run read back from its folder. Light: torch is loaded only for a detector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from panda_core.config import RunConfig, default_runs_dir
from panda_core.datasets import Images, ImageSource, Masks, OneClassTask
from panda_core.errors import BrokenRun
from panda_core.events import Evaluated, Event, ImagesSkipped, RunFinished, Segmented
from panda_core.few_shot.table import is_generalisation
from panda_core.records import read_arrays
from panda_core.runs.calibration import Calibration, calibration_of
from panda_core.runs.data import CheckedImages, check_unchanged
from panda_core.runs.few_shot.data import only_new
from panda_core.runs.folder import RunFolder, State
from panda_core.runs.plan import GIVEN_IMAGES, open_task
from panda_core.runs.segment.settings import is_segmentation

if TYPE_CHECKING:
    from panda_core.runs.detector import PandaDetector


class LoadedRun:
    """What a run folder says, whatever the state of the run."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def run_id(self) -> str:
        return self.folder.run_id

    @cached_property
    def config(self) -> RunConfig:
        return self.folder.config()

    def state(self) -> State:
        return self.folder.state()

    def events(self) -> list[Event]:
        return [event for event, _ in self.folder.events()]

    @cached_property
    def _logged(self) -> list[Event]:
        """The log as it was when it was first looked at: read once, however much is asked of it."""
        return self.events()

    @cached_property
    def evaluated(self) -> list[Evaluated]:
        """The points of the curves so far, step 0 first."""
        return [event for event in self._logged if isinstance(event, Evaluated)]

    @cached_property
    def is_segmentation(self) -> bool:
        """Whether the run compares patches, and has maps, instead of adapting a network."""
        return is_segmentation(self.config)

    @cached_property
    def segmented(self) -> list[Segmented]:
        """The results of a segmentation run so far: one for each checkpoint whose network was used."""
        return [event for event in self._logged if isinstance(event, Segmented)]

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """The final metrics, or None while there are none."""
        return next((event.metrics for event in self._logged if isinstance(event, RunFinished)), None)

    @cached_property
    def calibration(self) -> Calibration:
        """Threshold, verdict, percentile and expected false alarms of the run, the same wherever they are asked for."""
        return calibration_of(self)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What the result depends on besides the config; empty before the first evaluation."""
        return dict(self.folder.read("environment.json") or {})

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of images that could not be decoded."""
        skips = [event for event in self._logged if isinstance(event, ImagesSkipped)]
        return [pair for event in skips for pair in zip(event.names, event.reasons, strict=True)]

    @cached_property
    def split(self) -> dict[str, Any]:
        """`split.json`: names and rows of the images of both splits, who is held out, which are anomalous."""
        split = self.folder.read("split.json")
        if split is None:
            raise BrokenRun(f"Run `{self.run_id}` has not listed its images yet. Wait for its first evaluation.")
        return dict(split)

    def arrays(self, step: int | str) -> dict[str, np.ndarray]:
        """Return the arrays of a step, or of "final"."""
        return self.folder.arrays(step)

    def maps(self, step: int) -> dict[str, np.ndarray]:
        """Return what a segmentation run saved of its maps at a step.

        `grids` (M, g, g) of the test images, to be enlarged with `panda_core.segmentation.maps.full_map`;
        `held_out_grids` (H, g, g); for each group i of levels `distances_i` (M, h, w, k) and `origins_i`
        (M, h, w, k, 4): image (a row of the training images), turn, row and column of the nearest normal patches.
        """
        return read_arrays(self.folder.path / "maps" / f"{step:06d}.npz")

    @cached_property
    def _task(self) -> OneClassTask:
        if self.config.dataset == GIVEN_IMAGES:
            raise BrokenRun(f"Run `{self.run_id}` was made of images handed over in Python, which are not stored.")
        task = open_task(self.config)
        return only_new(self.config, task) if is_generalisation(self.config) else task

    def masks(self) -> Masks | None:
        """Return the defect masks of the test images, in the order of the run's arrays, or None where data has none."""
        masks = self._task.masks
        return None if masks is None else masks.subset(self.split["test_rows"])

    def kinds(self) -> np.ndarray | None:
        """Return what each test image is called in its dataset, (M,) of str, in the order of the run's arrays."""
        kinds = self._task.kinds
        return None if kinds is None else kinds[self.split["test_rows"]]

    def images(self, split: str) -> Images:
        """Return the images of "train" or "test", in the order of the run's arrays. Needs the dataset."""
        images = self._task.train if split == "train" else self._task.test
        names = list(self.split[split])
        found = images.subset(self.split[f"{split}_rows"]) if len(images) > max(self.split[f"{split}_rows"]) else images
        if list(found.names) != names:
            self.check_unchanged()  # says which; a run of an older version did not record it
            raise BrokenRun(f"The data of run `{self.run_id}` has changed since: its {split} images are not the same.")
        content = self.split.get("content", {}).get(split)
        return found if content is None else CheckedImages(found, [content[row] for row in self.split[f"{split}_rows"]])

    def check_unchanged(self) -> None:
        """Raise `BrokenRun`, naming what changed, where the images on this machine are not those of the run."""
        check_unchanged(self.run_id, self.split, self._task)

    def detector(self) -> PandaDetector:
        """Return the run's detector, ready to score new images."""
        from panda_core.runs.detector import detector_of_run

        return detector_of_run(self)

    def generalizer(self, references: Sequence[ImageSource]) -> PandaDetector:
        """Return a detector for a class that was never trained on, from a few normal images of it.

        references: paths, PIL images or uint8 (H, W, 3) arrays, 2 to 8 for instance. Runs of `generalize` have one;
        any other raises `UsageError`. Its thresholds come from normal images of the classes that were trained on.
        """
        from panda_core.runs.detector import generalizer_of_run

        return generalizer_of_run(self, references)


def load_run(run: str | os.PathLike[str], runs_dir: str | None = None) -> LoadedRun:
    """Return the run at a path, or with an id below `runs_dir` (default: `$PANDA_RUNS`, else `runs`)."""
    return LoadedRun(RunFolder.open(run, runs_dir or default_runs_dir()))
