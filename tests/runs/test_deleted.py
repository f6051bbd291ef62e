"""Deleted runs: out of the list at once, back within ten seconds, gone from the disk afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from panda_core.config import RunConfig
from panda_core.errors import UsageError
from panda_core.runs.deleted import bring_back, put_aside, remove_deleted
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.kinds import resolve


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(resolve(RunConfig(dataset="digits", normal_class="3", runs_dir=str(tmp_path))))


def test_a_deleted_run_can_be_brought_back(folder: RunFolder, tmp_path: Path) -> None:
    """A click on the wrong run that costs an hour of computing."""
    files = {path.name for path in folder.path.iterdir()}
    aside = put_aside(folder)
    remove_deleted(tmp_path)
    assert list_runs(tmp_path) == [] and not folder.path.exists()
    assert bring_back(aside).path == folder.path
    assert [run.run_id for run in list_runs(tmp_path)] == [folder.run_id]
    assert files <= {path.name for path in folder.path.iterdir()}


def test_a_deleted_run_is_gone_from_the_disk(folder: RunFolder, tmp_path: Path) -> None:
    """Somebody's images that stay on the disk after they were deleted."""
    aside = put_aside(folder)
    remove_deleted(tmp_path, kept=0)
    assert list(tmp_path.rglob(folder.run_id)) == []
    with pytest.raises(UsageError, match="removed for good"):
        bring_back(aside)


def test_a_computing_run_is_not_put_aside(folder: RunFolder) -> None:
    """Files that a process writes, moved away below its hands."""
    with folder.lock(), pytest.raises(UsageError, match="Stop it first"):
        put_aside(folder)
