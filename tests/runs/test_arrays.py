"""What the arrays of a run hold: written and read as they are described, in one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panda_core.errors import BrokenRun
from panda_core.records import write_arrays
from panda_core.runs.arrays import AdaptArrays, FinalArrays, MapArrays, PatchArrays, RunSplit, StepArrays

STEP = {"scores": np.arange(3.0), "held_out_scores": np.ones(2), "normaliser": np.array(0.5)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A key that is written under one name and looked for under another."""
    arrays = PatchArrays(**STEP, peaks=np.arange(3.0))
    arrays.write(tmp_path / "a.npz")
    again = PatchArrays.read(tmp_path / "a.npz")
    for name, values in arrays.by_name().items():
        np.testing.assert_array_equal(getattr(again, name), values)
    assert set(StepArrays.read(tmp_path / "a.npz").by_name()) == set(STEP)  # of a run of any kind


def test_optional_arrays_may_lack_and_others_may_not(tmp_path: Path) -> None:
    """A run of an older version that cannot be read for want of a picture; one without scores that can."""
    needed = ("center_distances", "spread", "singular_values", "projection_train", "projection_test")
    write_arrays(tmp_path / "a.npz", {**STEP, **dict.fromkeys(needed, np.ones(1)), "of tomorrow": np.ones(1)})
    assert AdaptArrays.read(tmp_path / "a.npz").neighbours is None
    write_arrays(tmp_path / "b.npz", {"scores": np.ones(2)})
    with pytest.raises(BrokenRun, match=r"b\.npz` lacks held_out_scores, step\. The run must be computed again"):
        FinalArrays.read(tmp_path / "b.npz")
    with pytest.raises(BrokenRun, match="lacks grids"):
        MapArrays.read(tmp_path / "b.npz")


def test_maps_keep_their_groups_apart(tmp_path: Path) -> None:
    """Distances of one group of levels with the places of another; maps of other images than asked for."""
    groups = tuple(np.full((4, side, side, 3), side) for side in (4, 2))
    places = tuple(np.full((4, side, side, 3, 4), side) for side in (4, 2))
    maps = MapArrays(np.arange(4.0)[:, None, None], np.ones((2, 1, 1)), groups, places)
    maps.write(tmp_path / "maps.npz")
    again = MapArrays.read(tmp_path / "maps.npz").rows(np.array([2, 0]))
    assert again.grids.ravel().tolist() == [2.0, 0.0] and again.held_out_grids.shape == (2, 1, 1)
    assert [part.shape for part in again.distances] == [(2, 4, 4, 3), (2, 2, 2, 3)]
    assert [int(part.max()) for part in again.origins] == [4, 2]


def test_a_split_reads_as_it_was_written_and_says_what_it_lacks(tmp_path: Path) -> None:
    """A run of an older version, which lists no contents, that cannot be read; one without names that can."""
    split = RunSplit(train=["a", "b"], train_rows=[0, 3], test=["c"], test_rows=[1], is_anomaly=[1], held_out=[1])
    record = split.to_json()
    assert "has_mask" not in record and RunSplit.from_json(record, tmp_path) == split
    older = {name: record[name] for name in ("train", "train_rows", "test", "test_rows", "is_anomaly")}
    assert RunSplit.from_json({**older, "of tomorrow": 1}, tmp_path).content == {}
    assert (split.names("train"), split.rows("test")) == (["a", "b"], [1])
    del older["test"]
    with pytest.raises(BrokenRun, match=r"lacks test\. The run must be computed again"):
        RunSplit.from_json(older, tmp_path)
