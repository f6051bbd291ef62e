"""A run read back from its folder, with its images and its detector. Light: torch is loaded only for a detector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from panda_core.config import default_data_root, default_runs_dir
from panda_core.datasets import Images, ImageSource, Masks, OneClassTask
from panda_core.errors import BrokenRun
from panda_core.runs.corrected import in_force
from panda_core.runs.data import GIVEN_IMAGES, CheckedImages, CheckedMasks, check_unchanged
from panda_core.runs.detector import PandaDetector
from panda_core.runs.folder import RunFolder
from panda_core.runs.given import listed_images
from panda_core.runs.kinds import open_task
from panda_core.runs.reading import RecordedRun


class LoadedRun(RecordedRun):
    """What a run folder says, whatever the state of the run; the images it learned from; and its detector."""

    @cached_property
    def _task(self) -> OneClassTask:
        if self.config.dataset == GIVEN_IMAGES:
            raise BrokenRun(f"Run `{self.run_id}` was made of images handed over in Python, which are not stored.")
        root = self.config.data_root  # a recording's is of no machine: its data is looked for where this one has it
        return open_task(self.config.replace(data_root=root if Path(root).is_absolute() else default_data_root()))

    def masks(self) -> Masks | None:
        """Return the defect masks of the test images, in the order of the run's arrays, or None where data has none."""
        if self._task.masks is None:
            return None
        rows, content = self.split.test_rows, self.split.content.get("masks")
        masks = self._task.masks.subset(rows)
        return masks if content is None else CheckedMasks(masks, [content[row] for row in rows], self.split.test)

    def kinds(self) -> np.ndarray | None:
        """Return what each test image is called in its dataset, (M,) of str, in the order of the run's arrays."""
        kinds = self._task.kinds
        return None if kinds is None else kinds[self.split.test_rows]

    def images(self, split: str) -> Images:
        """Return the images of "train" or "test", in the order of the run's arrays. Needs the dataset."""
        images = self._task.train if split == "train" else self._task.test
        names, rows = self.split.names(split), self.split.rows(split)
        chosen = images.subset(rows) if len(images) > max(rows) else images
        if list(chosen.names) != names:
            self.check_unchanged()  # says which; a run of an older version did not record it
            raise BrokenRun(f"The data of run `{self.run_id}` has changed since: its {split} images are not the same.")
        content = self.split.content.get(split)
        return chosen if content is None else CheckedImages(chosen, [content[row] for row in rows])

    def check_unchanged(self) -> None:
        """Raise `BrokenRun`, naming what changed, where the images on this machine are not those of the run."""
        check_unchanged(self.run_id, self.split, self._task)

    def detector(self) -> PandaDetector:
        """Return the run's detector, ready to score new images."""
        return PandaDetector.of(self)

    def generalizer(self, references: Sequence[ImageSource]) -> PandaDetector:
        """Return a detector for a class that was never trained on, from a few normal images of it.

        references: paths, PIL images or uint8 (H, W, 3) arrays, 2 to 8 for instance. Runs of `generalize` have one;
        any other raises `UsageError`. Its thresholds come from normal images of the classes that were trained on.
        """
        return PandaDetector.of(self, listed_images(references))


def load_run(run: str | os.PathLike[str], runs_dir: str | None = None) -> LoadedRun:
    """Return the run at a path, or with an id below `runs_dir` (default: `$PANDA_RUNS`, else `runs`).

    Of a run that was corrected, it is the one learned with its corrections.
    """
    return LoadedRun(in_force(RunFolder.open(run, runs_dir or default_runs_dir())))
