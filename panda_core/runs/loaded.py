"""A run read back from its folder. Light: torch is loaded only for a detector."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from panda_core.config import RunConfig, default_runs_dir
from panda_core.datasets import Images, find_dataset, one_class_task
from panda_core.errors import BrokenRun
from panda_core.events import Evaluated, Event, ImagesSkipped, RunFinished
from panda_core.runs.plan import GIVEN_IMAGES
from panda_core.runs.store import RunFolder, State

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
    def evaluated(self) -> list[Evaluated]:
        """The points of the curves so far, step 0 first."""
        return [event for event in self.events() if isinstance(event, Evaluated)]

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """The final metrics, or None while there are none."""
        return next((event.metrics for event in self.events() if isinstance(event, RunFinished)), None)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What the result depends on besides the config; empty before the first evaluation."""
        return dict(self.folder.read("environment.json") or {})

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of images that could not be decoded."""
        skips = [event for event in self.events() if isinstance(event, ImagesSkipped)]
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

    def images(self, split: str) -> Images:
        """Return the images of "train" or "test", in the order of the run's arrays. Needs the dataset."""
        if self.config.dataset == GIVEN_IMAGES:
            raise BrokenRun(f"Run `{self.run_id}` was made of images handed over in Python, which are not stored.")
        dataset = find_dataset(self.config.dataset)
        splits = dataset.open(Path(self.config.data_root), str(self.config.normal_class), self.config.seed)
        task = one_class_task(
            splits, train_limit=self.config.train_limit, test_limit=self.config.test_limit, seed=self.config.seed
        )
        images = task.train if split == "train" else task.test
        names = list(self.split[split])
        found = images.subset(self.split[f"{split}_rows"]) if len(images) > max(self.split[f"{split}_rows"]) else images
        if list(found.names) != names:
            raise BrokenRun(f"The data of run `{self.run_id}` has changed since: its {split} images are not the same.")
        return found

    def detector(self) -> PandaDetector:
        """Return the run's detector, ready to score new images."""
        from panda_core.runs.detector import detector_of_run

        return detector_of_run(self)


def load_run(run: str | os.PathLike[str], runs_dir: str | None = None) -> LoadedRun:
    """Return the run at a path, or with an id below `runs_dir` (default: `$PANDA_RUNS`, else `runs`)."""
    return LoadedRun(RunFolder.open(run, runs_dir or default_runs_dir()))
