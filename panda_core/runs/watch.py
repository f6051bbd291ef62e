"""Following a folder into which a camera writes: each complete image is judged once. Importing this loads no torch.

The folder is looked at again and again, which works on network shares as well. A file is complete once neither its size
nor its time has changed between two looks. Hidden files and files that are not named like pictures take no part, so
that a camera may write `x.tmp` and rename it.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from panda_core.datasets.io.listing import is_entry
from panda_core.datasets.io.opening import IMAGE_SUFFIXES
from panda_core.datasets.io.other_formats import told_by_ending
from panda_core.runs.calibration import RATE
from panda_core.runs.detector import PandaDetector
from panda_core.runs.score import ScoredImage, score_files

LOOK = 0.5  # seconds between two looks; a file is judged after two, well within 2 seconds
PATIENCE = (
    5.0  # seconds for which a file that cannot be read may still be on its way: a camera may pause while it writes
)
OLD = 60.0  # seconds after which a file is no longer written: it was there before

Key = tuple[str, int, int]


@dataclasses.dataclass(frozen=True)
class Seen:
    """A file as a look found it. place: in the folder, in printable characters. modified: nanoseconds since 1970."""

    place: str
    path: str
    size: int
    modified: int

    @property
    def key(self) -> Key:
        """What is judged once: the same place with another size or time is another image."""
        return self.place, self.size, self.modified


class FollowedFolder:
    """A folder, which of its files were judged, and which are still being written.

    judged: keys of what was judged, for instance before a restart.
    problem: why the folder could not be listed the last time, a sentence; "" where it could.
    vanished: how many files were removed after they were complete and before they were judged.
    """

    def __init__(self, folder: Path, judged: Iterable[Key] = ()) -> None:
        self.folder, self.judged = folder, set(judged)
        self.problem, self.vanished = "", 0
        self._since: dict[Key, float] = {}  # when each unjudged file was first seen as it is
        self._first: set[Key] | None = None

    def look(self, now: float) -> list[Seen]:
        """Return the complete files that were not judged: those that came since the first look before those of then.

        now: seconds of a clock that never goes back.
        """
        seen = {file.key: file for file in self._list() if file.key not in self.judged}
        if self._first is None:
            self._first = set(seen)
        self._since = {key: self._since.get(key, now) for key in seen}
        first = self._first
        settled = [file for key, file in seen.items() if now - self._since[key] >= LOOK]
        return sorted(settled, key=lambda file: (file.key in first, file.modified, file.place))

    def is_unchanged(self, file: Seen) -> bool:
        """Return whether a file is still what `look` found; one that is gone is counted."""
        try:
            found = os.stat(file.path)  # noqa: PTH116  a place may be no text
        except FileNotFoundError:
            self.vanished += 1
            return False
        except OSError:  # a share that is away for a moment: the next look tells
            return False
        return (found.st_size, found.st_mtime_ns) == (file.size, file.modified)

    def may_still_come(self, file: Seen, now: float) -> bool:
        """Return whether a file that cannot be read may still be on its way."""
        return now - self._since.get(file.key, now) < PATIENCE and abs(time.time() - file.modified / 1e9) < OLD

    def _list(self) -> list[Seen]:
        """Return all files that are named like pictures, to any depth; links to folders are not followed."""
        found: list[Seen] = []
        self.problem = ""
        waiting = [""]
        while waiting:
            place = waiting.pop()
            try:
                with os.scandir(f"{self.folder}/{place}") as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(f"{place}{entry.name}/")
                        elif _is_picture(entry):
                            about = entry.stat()
                            found.append(
                                Seen(one_line(place + entry.name), entry.path, about.st_size, about.st_mtime_ns)
                            )
            except FileNotFoundError as error:  # a file or a folder was removed under our eyes
                self.problem = self.problem or ("" if place or self.folder.is_dir() else self._told(place, error))
            except OSError as error:
                self.problem = self.problem or self._told(place, error)
        return found

    def _told(self, place: str, error: OSError) -> str:
        return f"`{self.folder}/{one_line(place)}` cannot be listed: {error.strerror}. It is tried again."


def _is_picture(entry: os.DirEntry[str]) -> bool:
    is_named_so = entry.name.lower().endswith(IMAGE_SUFFIXES) or told_by_ending(entry.name) is not None
    return is_named_so and is_entry(entry.is_file)


def one_line(place: str) -> str:
    """Return a place in printable characters: line ends and bytes that are no text become escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in place)


def follow(
    detector: PandaDetector, followed: FollowedFolder, *, rate: float = RATE, should_stop: Callable[[], bool]
) -> Iterator[tuple[Seen, ScoredImage] | None]:
    """Yield each complete image of a folder once, as it comes, with what the detector says of it; None after each look.

    A file is judged by itself, so that its score has the same bits whatever came beside it. Once the reader asks for
    the next image, this one counts as judged. should_stop: asked after every image.
    """
    while not should_stop():
        began = time.monotonic()
        files = followed.look(began)
        looked = time.monotonic()
        pause = max(LOOK, looked - began)  # a slow share is looked at for half of the time at most
        judged = score_files(detector, [(file.place, Path(file.path)) for file in files], rate=rate, batch=1)
        for scored, file in zip(judged, files, strict=True):
            waits = scored.score is None and followed.may_still_come(file, time.monotonic())
            if followed.is_unchanged(file) and not waits:
                yield file, scored
                followed.judged.add(file.key)
            if should_stop() or time.monotonic() - looked > pause:
                break
        judged.close()
        yield None
        if not should_stop():
            time.sleep(max(0.0, pause - (time.monotonic() - looked)))
