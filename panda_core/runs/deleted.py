"""Runs that somebody deleted and may still want back: they lie aside, in no list, until they are removed for good."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from panda_core.errors import UsageError
from panda_core.runs.folder import RunFolder

ASIDE = ".deleted"  # folder beside the runs
KEPT = 10.0  # seconds for which a deleted run can be brought back


def put_aside(folder: RunFolder) -> Path:
    """Move a run out of its list, and return where it lies now; refused while a process computes the run."""
    if folder.is_locked():
        raise UsageError(f"Run `{folder.run_id}` is being computed. Stop it first.")
    aside = folder.path.parent / ASIDE / folder.run_id
    aside.parent.mkdir(exist_ok=True)
    os.utime(folder.path)  # the time of a folder says since when it lies here
    folder.path.replace(aside)
    return aside


def bring_back(aside: Path) -> RunFolder:
    """Move a run back to where it was; one that has been removed raises `UsageError`."""
    if not aside.is_dir():
        raise UsageError(f"Run `{aside.name}` has been removed for good. Compute it again with the same settings.")
    home = aside.parent.parent / aside.name
    aside.replace(home)
    return RunFolder(home)


def remove_deleted(runs_dir: str | os.PathLike[str], kept: float = KEPT) -> None:
    """Remove for good what has lain aside for longer than `kept` seconds."""
    for aside in (Path(runs_dir) / ASIDE).glob("*"):
        if aside.is_dir() and time.time() - aside.stat().st_mtime >= kept:
            shutil.rmtree(aside, ignore_errors=True)
