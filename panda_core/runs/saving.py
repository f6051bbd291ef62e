"""What every run writes into its folder besides the log: which images take part, and what the result depends on."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import numpy as np

from panda_core import __version__
from panda_core.datasets import split_digest
from panda_core.records import write_json
from panda_core.runs.arrays import RunSplit
from panda_core.runs.data import content_of
from panda_core.runs.folder import RunFolder
from panda_core.runs.settings import Plan

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "faiss-cpu", "safetensors", "pillow")


class Saved(Protocol):
    """Files of a run, which a loop yields before the event that refers to them."""

    def save(self, folder: RunFolder, plan: Plan) -> None:
        """Write the files into the run's folder."""


@dataclasses.dataclass(frozen=True)
class TakingPart:
    """Which images take part in a run, said once before its first result.

    train, test: rows of the task's sets that could be decoded.
    is_anomaly: (M,) of the test rows.
    fitted: places in `train` of the images that are learned from or compared with.
    held_out: places in `train` of the images that calibrate.
    skipped: (name, reason) of images and masks that could not be decoded.
    has_mask: (M,) whether the defects of a test image are marked, of runs with maps.
    fisher: where the Fisher diagonal comes from, in words, of runs with elastic weights.
    """

    train: np.ndarray
    test: np.ndarray
    is_anomaly: np.ndarray
    fitted: np.ndarray
    held_out: np.ndarray
    skipped: Sequence[tuple[str, str]]
    has_mask: np.ndarray | None = None
    fisher: str | None = None

    def save(self, folder: RunFolder, plan: Plan) -> None:
        """Write `split.json` and `environment.json`."""
        task = plan.task
        split = RunSplit(
            train=[task.train.names[row] for row in self.train],
            train_rows=self.train.tolist(),
            test=[task.test.names[row] for row in self.test],
            test_rows=self.test.tolist(),
            is_anomaly=self.is_anomaly.tolist(),
            fitted=self.fitted.tolist(),
            held_out=self.held_out.tolist(),
            reserved=np.nonzero(np.isin(self.train, task.reserved))[0].tolist(),
            has_mask=None if self.has_mask is None else self.has_mask.tolist(),
            skipped=[list(pair) for pair in self.skipped],
            content=content_of(task, masks=self.has_mask is not None),
        )
        write_json(folder.split_file, split.to_json())
        write_json(folder.environment_file, environment(plan, self.fisher))


def environment(plan: Plan, fisher: str | None) -> dict[str, object]:
    """Return what the result depends on besides the config."""
    import torch

    versions: dict[str, str | None] = {"panda_core": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "device": str(plan.device),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "weights_sha256": plan.network.weights_sha256,
        "train_sha256": split_digest(plan.task.train),
        "test_sha256": split_digest(plan.task.test),
        "others_sha256": plan.others_sha256(),
        "fisher": fisher,
        "started": time.time(),
    }
