"""Run folders as one archive each, as they come with the program: packed, and unpacked once into the cache.

What is unpacked is a run folder like any other, so nothing that reads runs knows of archives.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from pathlib import Path
from typing import BinaryIO

from panda_core.errors import PandaError
from panda_core.records import cannot_write, new_folder, write_atomically

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can hold: the bytes do not depend on the day


def pack(folder: Path, archive: Path) -> None:
    """Write the files of a run folder as one zip file, whose bytes depend on their names and contents alone.

    Nothing is compressed: most files are, and how well the others are packed would depend on the version of zlib.
    """
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
            for name in paths:
                packed.writestr(zipfile.ZipInfo(name, EARLIEST), (folder / name).read_bytes())

    write_atomically(archive, write)


def unpacked(archives: Path, cache_dir: Path) -> Path:
    """Return a folder with a run folder `KEY` for each archive `KEY.zip` in the folder `archives`.

    It lies in the cache, under the hash of all archives: other archives are unpacked anew, the same ones never twice.
    It is filled under a temporary name and renamed into place, so that no reader sees half of it. A damaged archive
    raises `PandaError`, and so does a cache that cannot be written to.
    """
    paths = tuple(sorted(archives.glob("*.zip")))
    target = cache_dir / "recorded" / _digest(paths)
    if target.is_dir():
        return target
    try:
        with new_folder(target) as filling:
            for path in paths:
                _unpack(path, filling / path.stem)
            try:
                filling.rename(target)
            except OSError:
                if not target.is_dir():  # or another process was first, with the same files
                    raise
    except OSError as error:
        raise cannot_write(target, error) from error
    return target


@functools.cache
def _digest(archives: tuple[Path, ...]) -> str:
    """Return a hash of the names and contents of files, read once in a process: they come with the program."""
    digest = hashlib.sha256()
    for path in archives:
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                packed.extract(name, folder)  # drops what would lead out of the folder
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise PandaError(f"`{archive}` is damaged: {error}. Get this file of the program again.") from error
