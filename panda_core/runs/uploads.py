"""What people upload: a folder of its own for each drop, for some days, within a limit of the disk.

    <runs>/uploads/<random token>/images/...   names.json   upload.json   cache/

Whoever knows the token can open an upload, nobody can guess it, and nothing lists them; `upload_of` tells which run
learned from which, so that pages do not list such a run either. `sweep` removes uploads that
were not used for `PANDA_UPLOAD_DAYS` days (7), and the oldest ones where all together take more than
`PANDA_UPLOAD_GB` gigabytes (2); never one that a queued or running run needs, nor, for want of space, one used
within the last hour. `delete_everything` removes what a person has left here: their images, what was learned from them,
and all images that it has judged. `cache/` holds what a frozen network makes of the images, so that it goes with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from panda_core.config import default_runs_dir
from panda_core.datasets.io.places import uploads_folder
from panda_core.datasets.own.images import Source, Understood, write_images
from panda_core.datasets.own.layout import IMAGES, NAMES
from panda_core.errors import PandaError, UsageError
from panda_core.records import cannot_write, read_json, write_json
from panda_core.runs.deleted import ASIDE
from panda_core.runs.folder import ENDED, RunFolder, list_runs
from panda_core.runs.launch import end_check, end_comparing
from panda_core.runs.owner import TOKEN, upload_of

ABOUT = "upload.json"
JUDGED = "photos.json"  # in the folder of a check: the tokens of the uploads it looks at
IN_USE = 3600.0  # seconds in which an upload is not removed for want of space


@dataclasses.dataclass(frozen=True)
class Upload:
    """One drop. images: the folder that `folder:PATH` understands. names: own name by place in that folder."""

    token: str
    path: Path
    understood: Understood

    @property
    def images(self) -> Path:
        return self.path / IMAGES

    def names(self) -> dict[str, str]:
        """Return what people called each image, by its place in `images`."""
        return {str(place): str(name) for place, name in read_json(self.path / NAMES).items()}


def lifetime() -> float:
    """Return after how many seconds without use an upload is removed: `$PANDA_UPLOAD_DAYS`, 7 days by default."""
    return _setting("PANDA_UPLOAD_DAYS", 7.0) * 86_400


def quota() -> int:
    """Return how many bytes all uploads may take: `$PANDA_UPLOAD_GB`, 2 GB by default."""
    return int(_setting("PANDA_UPLOAD_GB", 2.0) * 1e9)


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1e6:
        raise UsageError(f"`{name}` must be a number in (0, 1000000]; got `{text}`. Set it to {default:g}.")
    return value


def keep_upload(sources: Iterable[Source], tell: Callable[[int], object] = lambda done: None) -> Upload:
    """Write a drop as an upload of its own and return it: see `own_images.write_images`. All of it, or nothing."""
    sweep()
    token = secrets.token_hex(16)
    path = uploads_folder() / token
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        understood = write_images(path, sources, room=_room(), tell=tell)
        write_json(path / ABOUT, dataclasses.asdict(understood))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Upload(token, path, understood)


def find_upload(token: str) -> Upload | None:
    """Return the upload called exactly `token`, or None; it counts as used now. Paths and other tricks are none."""
    path = uploads_folder() / token
    if not TOKEN.fullmatch(token) or path.is_symlink() or not path.is_dir():
        return None
    try:
        record = read_json(path / ABOUT)
        record["refused"] = [(str(name), str(reason)) for name, reason in record["refused"]]
        understood = Understood(
            **{**record, "smallest": tuple(record["smallest"]), "largest": tuple(record["largest"])}
        )
    except (PandaError, KeyError, TypeError, ValueError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path / ABOUT)
    return Upload(token, path, understood)


def delete_upload(token: str) -> None:
    """Remove an upload; refused while a queued or running run needs it."""
    path = uploads_folder() / token
    if not TOKEN.fullmatch(token) or not path.is_dir():
        raise UsageError("There is no such upload. It may have been removed already.")
    check_free(token)
    _remove(path)


def check_free(token: str) -> None:
    """Raise `UsageError` while a queued or running run needs an upload."""
    if token in _needed():
        raise UsageError("A run that waits or computes needs these images. Stop it first.")


def note_check(output: Path, judged: Upload, references: Upload | None = None) -> None:
    """Write down which uploads the check in folder `output` looks at."""
    tokens = {"upload": judged.token} | ({} if references is None else {"references": references.token})
    write_json(output / JUDGED, tokens)


def uploads_of_check(output: Path) -> dict[str, str]:
    """Return the tokens that `note_check` wrote: "upload", and "references" of a new class; {} where there are none."""
    with contextlib.suppress(PandaError, AttributeError):
        record = read_json(output / JUDGED).items()
        return {str(role): str(token) for role, token in record if TOKEN.fullmatch(str(token))}
    return {}


def delete_check(output: Path) -> None:
    """Remove the folder of a check, and the images that it looks at; a process that still does so is ended."""
    tokens = uploads_of_check(output).values()
    end_check(output)
    _remove(output)
    for token in tokens:
        if (uploads_folder() / token).is_dir():
            delete_upload(token)


def delete_everything(token: str) -> None:
    """Remove an upload, all runs that learned from it, those put aside too, and all images that these have judged.

    Refused, with nothing removed, while one of these runs waits or computes. What cannot be removed raises: whoever
    asks for it must not be told that it is gone.
    """
    if not TOKEN.fullmatch(token):
        raise UsageError("There is no such upload. It may have been removed already.")
    places = (Path(default_runs_dir()), Path(default_runs_dir()) / ASIDE)
    runs = [folder for place in places for folder in list_runs(place) if token == _read_upload_of(folder)]
    if any(folder.state().state not in ENDED for folder in runs):
        raise UsageError("A run that waits or computes needs these images. Stop it first.")
    for folder in runs:
        for output in folder.checks("").glob("*"):
            delete_check(output)
        end_comparing(folder)
        folder.delete()
    if (uploads_folder() / token).is_dir():
        delete_upload(token)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise PandaError(
            f"`{path}` cannot be removed: {error.strerror or error}. Ask whoever runs this program to remove it."
        ) from error


def sweep(now: float | None = None) -> list[str]:
    """Remove what is too old, then the oldest until the rest fits the limit; return the tokens of what was removed."""
    now, most, oldest = time.time() if now is None else now, quota(), lifetime()
    uploads = sorted((used, token, path) for token, path, used in _uploads())
    if not uploads:
        return []
    needed, removed = _needed(), []
    sizes = {token: size_of(path) for _, token, path in uploads}
    total = sum(sizes.values())
    for used, token, path in uploads:
        old, crowded = now - used > oldest, total > most and now - used > IN_USE
        if token not in needed and (old or crowded):
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[token]
            removed.append(token)
    return removed


def size_of(folder: Path) -> int:
    """Return how many bytes the files in `folder` take."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may be removing it
            total += path.lstat().st_size
    return total


def _room() -> int:
    """Return how many bytes another upload may take; `PandaError` where there is no room at all."""
    taken = size_of(uploads_folder())
    if taken >= quota():
        raise PandaError(
            f"Uploads take {taken / 1e9:.1f} GB, all that is allowed. Delete one, or set PANDA_UPLOAD_GB higher."
        )
    return quota() - taken


def _uploads() -> Iterator[tuple[str, Path, float]]:
    """Yield (token, folder, when it was last used). What is not named like an upload is left alone."""
    folder = uploads_folder()
    for path in folder.iterdir() if folder.is_dir() else ():
        if TOKEN.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                about = path / ABOUT
                yield path.name, path, (about if about.exists() else path).stat().st_mtime


def _needed() -> set[str]:
    """Return the tokens of uploads that a queued or running run reads."""
    runs = [folder for folder in list_runs(default_runs_dir()) if folder.state().state not in ENDED]
    return {_read_upload_of(folder) for folder in runs}


def _read_upload_of(folder: RunFolder) -> str:
    """Return the token of the upload that the run in a folder learns from, "" where there is none or it is broken."""
    with contextlib.suppress(PandaError):
        return upload_of(folder.config()) or ""
    return ""
