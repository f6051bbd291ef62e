"""Where uploads lie, where data sets lie below the data root, and the sentence about what to fetch if one does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from panda_core.config import default_runs_dir


def uploads_folder() -> Path:
    """Return the folder below which all uploads lie, each in a folder of its own with a random name.

    It lies among the runs, which somebody has to write anyway: a data root may be read-only.
    """
    return Path(default_runs_dir()) / "uploads"


def find_folder(root: Path, names: Sequence[str], wanted: Sequence[str]) -> Path | None:
    """Return the first folder of `names` below `root` that holds all files and folders of `wanted`, else None."""
    folders = (root / name for name in names)
    return next((folder for folder in folders if all((folder / item).exists() for item in wanted)), None)


def how_to_get(
    title: str,
    *,
    files: str,
    source: str,
    folder: Path,
    wanted: Sequence[str],
    then: str = " and unpack it",
    rest: str = "",
) -> str:
    """Return what to fetch and where to put it.

    files: the names and sizes of what the official `source` offers. wanted: what `folder` must hold afterwards.
    """
    listed = ", ".join(f"`{item}`" for item in wanted)
    sentence = f"{title} is not on this machine: fetch {files} from {source}{then}; `{folder}` must then hold {listed}."
    return f"{sentence} {rest}".rstrip()
