"""A run folder as one zip file."""

from __future__ import annotations

import tempfile
import zipfile
from typing import BinaryIO, cast

from panda_core.errors import UsageError
from panda_core.runs.folder import RunFolder

LEFT_OUT = (
    "checkpoints",
    "galleries",
    "momentum",
    "banks",
    "checks",
)  # large, and made again by running the same settings
MOST_BYTES = 200_000_000


def zipped(folder: RunFolder) -> BinaryIO:
    """Return an open temporary file with the run's folder, without the adapted weights; it vanishes when closed.

    It grows on the disk, not in memory. More than `MOST_BYTES` raises `UsageError`.
    """
    paths = [
        path
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.relative_to(folder.path).parts[0] not in LEFT_OUT
    ]
    if sum(path.stat().st_size for path in paths) > MOST_BYTES:
        raise UsageError(
            f"Run `{folder.run_id}` is larger than {MOST_BYTES // 1_000_000} MB. Copy its folder by hand instead."
        )
    file = downloadable()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"{folder.run_id}/{path.relative_to(folder.path).as_posix()}")
    file.seek(0)
    return file


def downloadable() -> BinaryIO:
    """Return a new temporary file to write and then hand to a download button; it vanishes when closed.

    Without a buffer: of the files that Python opens for reading and writing, Streamlit takes no other kind.
    """
    return cast(BinaryIO, tempfile.TemporaryFile(buffering=0))
