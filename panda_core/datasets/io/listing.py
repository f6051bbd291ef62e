"""Which pictures lie in a folder: those that are read, and those in other formats, which are named."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from panda_core.config import CONFIG_FILE, STATE_FILE
from panda_core.datasets.io.opening import IMAGE_SUFFIXES
from panda_core.datasets.io.other_formats import why_not_read
from panda_core.datasets.io.places import uploads_folder
from panda_core.errors import DataMissing, UsageError


def shown_name(place: str) -> str:
    """Return a path as text that can be encoded: bytes of a file name that are no UTF-8 become `\\udcXX`."""
    return place.encode("utf-8", "backslashreplace").decode()


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder by their places in it, with forward slashes and sorted.

    images: all named like images that are read. others: (place, reason) of pictures in formats that are not.
    """

    images: list[str]
    others: list[tuple[str, str]]


def image_files(folder: Path) -> list[str]:
    """Return the places in `folder`, with forward slashes and sorted, of all files named like images that are read."""
    return list_files(folder).images


def list_files(folder: Path) -> Listing:
    """Return what pictures lie in `folder`.

    Folders are searched to any depth. Hidden files and folders (a leading dot) and files that are no pictures are left
    out; a file that ends like an image but is none stays, so that it is counted when decoding fails. A link that leads
    out of `folder`, or to a folder, raises `UsageError`: a data set must not reach files that its owner did not put
    there. Uploads are left out unless `folder` lies within one: whoever knows its random name may open an upload, and a
    listing of all of them would hand out the names. Run folders are left out as well: their pictures are no data.
    """
    root, uploads = os.path.realpath(folder), os.path.realpath(uploads_folder())
    found = Listing([], [])
    waiting = [""]  # places of folders, each with its final slash
    while waiting:
        place = waiting.pop()
        if os.path.normpath(f"{root}/{place}") == uploads or (place and _is_run(f"{root}/{place}")):
            continue
        for entry in _visible_entries(f"{folder}/{place}"):
            if is_entry(entry.is_dir):
                if entry.is_symlink():
                    raise _refused_link(entry.path, "a link to a folder")
                waiting.append(f"{place}{entry.name}/")
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(root):
                    raise _refused_link(entry.path, "a link that leads out of the folder")
                found.images.append(place + entry.name)
            elif (reason := why_not_read(entry.path)) is not None:
                found.others.append((place + entry.name, reason))
    found.images.sort()
    found.others.sort()
    return found


def _is_run(folder: str) -> bool:
    return all(os.path.isfile(f"{folder}{name}") for name in (CONFIG_FILE, STATE_FILE))  # noqa: PTH113  fast


def is_entry(kind: Callable[[], bool]) -> bool:
    """Return whether an entry of a folder is of a kind, `entry.is_dir` for instance; a link to itself is of none."""
    try:
        return kind()
    except OSError:
        return False


def _visible_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataMissing(f"`{folder}` cannot be listed: {error.strerror}. Check who may read it.") from error


def _refused_link(path: str, what: str) -> UsageError:
    return UsageError(f"`{path}` is {what}, which is not followed. Copy the images there or remove the link.")
