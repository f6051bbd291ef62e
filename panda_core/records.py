"""Records on disk that survive a kill at any moment: whole files appear at once, logs grow by whole lines.

A reader never sees half a file: `write_atomically` fills a temporary file in the same folder, flushes it to the
disk and renames it into place. A log line counts once its newline is written; a torn last line is ignored.

A killed writer leaves its temporary file or folder, a part. A writer holds a lock on its part as long as it lives, so
that the next process that writes into the folder can tell the parts of the dead, and removes them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from panda_core.errors import PandaError

if TYPE_CHECKING:
    import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PART = ".panda-part"  # how the names of parts end; they begin with a dot
ABANDONED_AFTER = 24 * 3600.0  # seconds after which a part counts as a dead process's where nothing can be locked
MARK = "#sha256="  # between a path in a config and the digest of what a run was computed with


_swept: set[str] = set()  # folders that this process has rid of the parts of the dead


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create or replace `path` with what `write` puts into the open binary file; all of it or nothing."""
    with new_file(path) as file:
        write(file)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield an open binary file that takes the place of `path` where the block ends well, and is removed where not."""
    try:
        with _new_part(path, _empty_file) as part:
            with open(part, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)  # mkstemp makes 0600; a run folder is meant to be read by others of the group
            os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, to be filled and renamed; what is left of it afterwards is removed."""
    with _new_part(path, tempfile.mkdtemp) as part:
        part.chmod(0o755)  # as with files
        yield part


def _empty_file(suffix: str, prefix: str, dir: str) -> str:
    handle, name = tempfile.mkstemp(suffix, prefix, dir)
    os.close(handle)
    return name


@contextlib.contextmanager
def _new_part(path: Path, make: Callable[[str, str, str], str]) -> Iterator[Path]:
    """Yield a locked part of `path`, made by `make(suffix, prefix, folder)`; what is there at the end is removed."""
    try:
        part, held = _made_and_locked(path, make)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield part
    finally:
        _remove(part)
        _close(held)


def _made_and_locked(path: Path, make: Callable[[str, str, str], str]) -> tuple[Path, int | None]:
    """Return a new part of `path` and its lock. The first time in a folder, the parts of the dead are removed there."""
    folder = absolute(path.parent)
    os.makedirs(folder, exist_ok=True)
    if folder not in _swept:
        _swept.add(folder)
        _sweep(folder)
    while True:
        part = Path(make(PART, f".{path.name[:40]}.", folder))  # 255 bytes are all that a name may have
        with contextlib.suppress(FileNotFoundError):
            held = _lock(part)
            if part.exists():
                return part, held
            _close(held)  # another process has swept it before it was locked


def _lock(part: Path, *, wait: bool = True) -> int | None:
    """Return a descriptor that locks a part while it is open; None where nothing can be locked.

    `BlockingIOError` where another has locked it and `wait` is false.
    """
    if fcntl is None:
        return None
    descriptor = os.open(part, os.O_RDONLY if part.is_dir() else os.O_RDWR)  # over a network, files are locked to write
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def _sweep(folder: str) -> None:
    """Remove the parts in a folder whose writers are dead; what cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(PART) and not entry.is_symlink():
                with contextlib.suppress(OSError):
                    _remove_if_dead(Path(entry.path))


def _remove_if_dead(part: Path) -> None:
    old = time.time() - part.stat().st_mtime > ABANDONED_AFTER
    held = _lock(part, wait=False)
    try:
        if held is not None or old:
            _remove(part)
    finally:
        _close(held)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return a path that means the same from any folder, a leading `~` or `~user` expanded; links are kept."""
    return os.path.abspath(os.path.expanduser(path))


def cannot_write(path: Path, error: OSError) -> PandaError:
    """Return the one-sentence error for a full disk, a read-only folder or any other refusal of the system."""
    reason = error.strerror or str(error)
    return PandaError(
        f"Cannot write `{path}`: {reason}. Free some space or choose a folder you may write to with "
        f"`--runs-dir` (runs) or the environment variable `PANDA_CACHE_DIR` (cache)."
    )


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; a non-finite number becomes null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`; a missing or damaged file raises `PandaError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PandaError(f"`{path}` does not exist.") from error
    except (OSError, ValueError) as error:
        raise PandaError(f"`{path}` cannot be read as JSON: {error}.") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as one compressed `.npz`."""
    import numpy as np

    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **dict(arrays)))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the named arrays of a `.npz`; pickled content is refused."""
    import numpy as np

    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if not all(isinstance(value, np.ndarray) for value in arrays.values()):
            raise ValueError("it is an archive of something else")
        return arrays
    except FileNotFoundError as error:
        raise PandaError(f"`{path}` does not exist.") from error
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged archives
        raise PandaError(f"`{path}` cannot be read as arrays: {error}.") from error


def append_line(path: Path, value: object) -> None:
    """Append `value` as one line of JSON: see `append_text`."""
    append_text(path, json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(", ", ": ")) + "\n")


def append_text(path: Path, line: str) -> None:
    """Append a line, its newline at its end, and flush it to the disk. There may be one writer at a time.

    What a crash or a full disk left of an unfinished last line is dropped, so that nothing is glued to it.
    """
    try:
        with open(path, "ab") as file:
            whole = _end_of_last_line(path, file.tell())
            if whole < file.tell():
                file.truncate(whole)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def _end_of_last_line(path: Path, size: int) -> int:
    """Return the offset after the last newline among the first `size` bytes of the file."""
    with open(path, "rb") as file:
        while size:
            start = max(0, size - 4096)
            file.seek(start)
            newline = file.read(size - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            size = start
    return 0


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield (record, offset after it) for every complete line from byte `offset` on.

    A line without its newline is still being written, or was torn by a crash: reading stops before it.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    record = json.loads(line)
                except ValueError:
                    raise PandaError(f"`{path}` holds a line that is not JSON before byte {offset}.") from None
                if isinstance(record, dict):
                    yield record, offset
    except FileNotFoundError:
        return
    except OSError as error:
        raise PandaError(f"`{path}` cannot be read: {error.strerror}.") from error


_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


def plain_cell(text: str) -> str:
    """Return text for a table so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def text_of_cell(cell: str) -> str:
    """Return the text that `plain_cell` wrote; one that itself began like `'=` comes back without the `'`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def plain(value: Any) -> Any:
    """Return `value` made of plain JSON types; NaN and infinities become None, NumPy numbers plain numbers."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
