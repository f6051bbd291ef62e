"""What the arrays of a run and its `split.json` hold: each key and its shape, once. Arrays are float32 but where said.

M: test images, in the order of `split.json`. H: images that calibrate. N: images that are learned from.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

import numpy as np

from panda_core.errors import BrokenRun
from panda_core.records import read_arrays, write_arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrays:
    """Named arrays of one file. A field without a default has to be there; of an older run, others may lack."""

    def __getitem__(self, name: str) -> Any:
        """Return an array by the name that its file gives it: `arrays["scores"]`, for scripts."""
        return self.by_name()[name]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the arrays of a file; `BrokenRun` names what it lacks."""
        return cls.of(read_arrays(path), path)

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray], path: Path) -> Self:
        """Return the arrays that a file holds by name, those alone that are known."""
        fields = dataclasses.fields(cls)
        absent = [field.name for field in fields if field.name not in arrays and field.default is dataclasses.MISSING]
        if absent:
            raise BrokenRun(f"`{path}` lacks {', '.join(absent)}. The run must be computed again.")
        return cls(**{field.name: arrays[field.name] for field in fields if field.name in arrays})

    def by_name(self) -> dict[str, np.ndarray]:
        """Return all arrays that are there, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def write(self, path: Path) -> None:
        """Write a file that `read` reads."""
        write_arrays(path, self.by_name())


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepArrays(Arrays):
    """`arrays/NNNNNN.npz` of any run: what was measured at a step.

    scores: (M,), higher = more anomalous.
    held_out_scores: (H,).
    normaliser: (), float64, what a normal image scores on average at this step.
    """

    scores: np.ndarray
    held_out_scores: np.ndarray
    normaliser: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptArrays(StepArrays):
    """`arrays/NNNNNN.npz` of an adaptation.

    center_distances: (M,) squared distances to the run's constant center.
    spread: (), float64, mean squared distance of the training features to that center.
    singular_values: (S,), float64, of the centered training features, descending; at most 64.
    projection_train, projection_test: (N, 2) and (M, 2), along two directions that are fixed for the run.
    refit_train, refit_test: the same along directions fitted anew at this step.
    neighbours: (M, k), int32, places in `split.json` of the nearest training images, nearest first.
    neighbour_distances: (M, k), squared.
    watched_neighbours: (n, n / 3), int32, who is near to whom among some training images; at step 0 alone.
    """

    center_distances: np.ndarray
    spread: np.ndarray
    singular_values: np.ndarray
    projection_train: np.ndarray
    projection_test: np.ndarray
    refit_train: np.ndarray | None = None
    refit_test: np.ndarray | None = None
    neighbours: np.ndarray | None = None
    neighbour_distances: np.ndarray | None = None
    watched_neighbours: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchArrays(StepArrays):
    """`arrays/NNNNNN.npz` of a run with maps. peaks: (M,), the highest value of each image's full map."""

    peaks: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinalArrays(Arrays):
    """`arrays/final.npz`: the scores that count.

    scores: (M,), higher = more anomalous.
    held_out_scores: (H,).
    step: (M,), int64, whose checkpoint gave each test image its score.
    """

    scores: np.ndarray
    held_out_scores: np.ndarray
    step: np.ndarray


@dataclasses.dataclass(frozen=True)
class MapArrays:
    """`maps/NNNNNN.npz`, and `maps.npz` of images that were looked at later. g, h, w: sides of grids, k: 3 patches.

    grids: (M, g, g), with tiles (M, h, w), to be enlarged with `panda_core.segmentation.maps.full_map`.
    held_out_grids: (H, g, g); none of images that were looked at later.
    distances: of each group of levels (M, h, w, k), to the nearest normal patches, ascending: `distances_0`, ...
    origins: of each group (M, h, w, k, 4), int32, where those lie: place in `split.json`, turn, row and column:
        `origins_0`, ... Recorded runs keep neither.
    cells: (groups, 3), float64, where the patches of each group lie: stride, and row and column of the first center, in
        shares of the image's height as the network sees it (squared, unless cut into tiles); older runs lack it, and
        their patches divide the image evenly.
    """

    grids: np.ndarray
    held_out_grids: np.ndarray
    distances: tuple[np.ndarray, ...] = ()
    origins: tuple[np.ndarray, ...] = ()
    cells: np.ndarray | None = None

    @staticmethod
    def read(path: Path) -> MapArrays:
        """Return the arrays of a file; `BrokenRun` where it holds no maps."""
        return MapArrays.of(read_arrays(path), path)

    @staticmethod
    def of(arrays: dict[str, np.ndarray], path: Path) -> MapArrays:
        """Return the arrays that a file holds by name."""
        if "grids" not in arrays:
            raise BrokenRun(f"`{path}` lacks grids. The run must be computed again.")
        groups = range(sum(name.startswith("distances_") for name in arrays))
        return MapArrays(
            arrays["grids"],
            arrays.get("held_out_grids", np.zeros((0, 1, 1), np.float32)),
            tuple(arrays[f"distances_{group}"] for group in groups),
            tuple(arrays[f"origins_{group}"] for group in groups),
            arrays.get("cells"),
        )

    def rows(self, rows: np.ndarray) -> MapArrays:
        """Return the maps of the test images at `rows`."""
        distances, origins = (tuple(group[rows] for group in groups) for groups in (self.distances, self.origins))
        return MapArrays(self.grids[rows], self.held_out_grids, distances, origins, self.cells)

    def by_name(self) -> dict[str, np.ndarray]:
        """Return all arrays, by name."""
        parts: dict[str, Any] = {"grids": self.grids, "held_out_grids": self.held_out_grids}
        for kind, groups in (("distances", self.distances), ("origins", self.origins)):
            parts |= {f"{kind}_{group}": values for group, values in enumerate(groups)}
        return parts if self.cells is None else {**parts, "cells": self.cells}

    def write(self, path: Path) -> None:
        """Write a file that `read` reads."""
        write_arrays(path, self.by_name())


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSplit:
    """`split.json`: which images take part in a run, in the order of its arrays.

    train, test: their names.
    train_rows, test_rows: their rows in the two sets of the task.
    is_anomaly: of each test image, 0 normal and 1 anomalous.
    fitted: places in `train` of the images that are learned from, or compared with.
    held_out: places in `train` of the images that calibrate.
    reserved: places in `train` of those that were normal test images of a folder of one's own.
    has_mask: whether the defects of each test image are marked; of runs with maps.
    skipped: [name, reason] of images and masks that could not be decoded.
    content: "train" and "test" -> a digest of every image of the task's set, read or not; older runs lack it. "masks"
        -> one of the masks of every test image, "" for none; of runs with maps.
    """

    train: list[str]
    train_rows: list[int]
    test: list[str]
    test_rows: list[int]
    is_anomaly: list[int]
    fitted: list[int] = dataclasses.field(default_factory=list)
    held_out: list[int] = dataclasses.field(default_factory=list)
    reserved: list[int] = dataclasses.field(default_factory=list)
    has_mask: list[bool] | None = None
    skipped: list[list[str]] = dataclasses.field(default_factory=list)
    content: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return what `split.json` holds under a name: `split["test"]`, for scripts."""
        return self.to_json()[name]

    def names(self, split: str) -> list[str]:
        """Return the names of the images of "train" or "test"."""
        return self.train if split == "train" else self.test

    def rows(self, split: str) -> list[int]:
        """Return the rows of the images of "train" or "test" in the task's set."""
        return self.train_rows if split == "train" else self.test_rows

    def to_json(self) -> dict[str, Any]:
        """Return the content of `split.json`."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @staticmethod
    def from_json(record: dict[str, Any], path: Path) -> RunSplit:
        """Return what `split.json` at `path` says; `BrokenRun` names what it lacks."""
        fields = {field.name for field in dataclasses.fields(RunSplit)}
        try:
            return RunSplit(**{name: value for name, value in record.items() if name in fields})
        except (TypeError, AttributeError) as error:
            absent = sorted({"train", "train_rows", "test", "test_rows", "is_anomaly"} - set(record))
            raise BrokenRun(f"`{path}` lacks {', '.join(absent)}. The run must be computed again.") from error
