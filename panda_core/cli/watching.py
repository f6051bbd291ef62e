"""`score RUN --watch FOLDER`: one line for each image that comes, as JSON or comma-separated, and its map beside it."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from panda_core.cli.map_files import check_outside, check_target, write_map
from panda_core.cli.output import print_json
from panda_core.errors import PandaError, UsageError
from panda_core.figures.heatmaps import fixed_scale
from panda_core.records import append_line, append_text, plain_cell, read_lines, text_of_cell
from panda_core.runs.calibration import ANOMALOUS, JUDGED
from panda_core.runs.detector import PandaDetector
from panda_core.runs.drift import WINDOWS, Drift
from panda_core.runs.run import stop_on_signal
from panda_core.runs.score import ScoredImage, map_of
from panda_core.runs.watch import FollowedFolder, Key, Seen, follow, one_line

COLUMNS = (
    *("time", "path", "score", "percentile", "verdict", "threshold", "last_100", "last_1000", "warning"),
    *("map", "bytes", "modified"),
)
STATUS = 100  # images between two lines on the share of rejects


def check_watch(parsed: argparse.Namespace) -> None:
    """Raise `UsageError` for what cannot be watched, before anything is loaded."""
    folder = Path(parsed.paths[0])
    if len(parsed.paths) > 1 or not folder.is_dir():
        raise UsageError(f"`--watch` takes one folder that exists; got `{parsed.paths[-1]}`. Make it, or leave it out.")
    if parsed.report:
        raise UsageError("`--report` is for images that are there, and `--watch` for those that come. Leave one out.")
    if not parsed.maps:
        return
    maps = Path(parsed.maps)
    if maps.suffix.lower() == ".zip":
        raise UsageError(f"`--maps` with `--watch` must be a folder: a zip is written at its end; got `{maps}`.")
    check_outside(maps, folder)


def watch_command(parsed: argparse.Namespace, detector: PandaDetector) -> int:
    """Judge every image that comes into a folder, until Ctrl-C; exit code 0."""
    folder, maps = Path(parsed.paths[0]), Path(parsed.maps) if parsed.maps else None
    if maps is not None:
        detector.check_maps()
    out = Path(parsed.out) if parsed.out else None
    with _lines_of(out, as_csv=parsed.csv) as lines, stop_on_signal() as asked:
        watcher = _Watcher(detector, lines, maps, parsed.false_alarm_rate)
        followed = FollowedFolder(folder, watcher.read_back())
        if maps is not None and not watcher.lines.count:
            check_target(maps)  # else its numbers go on after those of the lines that are there
        told(f"Watching `{folder}`. Judged before: {lines.count:,}. Ctrl-C ends it.")
        problem = ""
        for found in follow(detector, followed, rate=parsed.false_alarm_rate, should_stop=asked):
            if found is not None:
                watcher.write(*found)
            elif followed.problem != problem:
                problem = followed.problem
                told(problem or f"`{folder}` can be listed again.")
        watcher.end(followed.vanished)
    return 0


def told(text: str) -> None:
    """Print a line for people, on the error stream: the other one is for the lines."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


class _Watcher:
    """What becomes of each judged image: its map, then its line, and what the last lines together say."""

    def __init__(self, detector: PandaDetector, lines: _Lines, maps: Path | None, rate: float) -> None:
        calibration = detector.calibration
        self.detector, self.lines, self.maps = detector, lines, maps
        self.threshold = calibration.threshold(rate)
        self.drift = Drift(calibration.false_alarms(rate))
        self.scale = fixed_scale(calibration.map_low, calibration.map_middle)
        self.verdicts: Counter[str] = Counter()

    def read_back(self) -> Iterator[Key]:
        """Yield what was judged before; the shares of rejects go on with the verdicts of the same threshold."""
        others = 0
        for row in self.lines.read():
            yield row.key
            if row.verdict in JUDGED and row.threshold == self.threshold:
                self.drift.add(row.verdict == ANOMALOUS)
            others += row.verdict in JUDGED and row.threshold != self.threshold
        if others:
            told(
                f"{others:,} of the images judged before were judged at another threshold, perhaps by another run; "
                "they are not judged again. Name another `--out` to judge them anew."
            )

    def write(self, file: Seen, scored: ScoredImage) -> None:
        """Write the map of an image, then its line: a line proves its map."""
        stem, values = "", map_of(self.detector, scored)
        if self.maps is not None and values is not None and scored.image is not None:
            stem = str(self.lines.count).zfill(6)
            write_map(self.maps / stem, scored.image, values, self.scale)
        warning = self.drift.add(scored.verdict == ANOMALOUS) if scored.verdict in JUDGED else ""
        row = {
            **scored.row(),
            "verdict": one_line(scored.verdict),
            "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "threshold": self.threshold,
            **{f"last_{window}": self.drift.share(window) for window in WINDOWS},
            "warning": warning,
            "map": stem and f"{stem}.png",
            "bytes": file.size,
            "modified": file.modified,
        }
        self.lines.append({column: row[column] for column in COLUMNS})
        kind = scored.verdict if scored.score is not None else "unreadable"
        self.verdicts["without a verdict" if kind == "-" else kind] += 1
        if warning:
            told(f"Warning: {warning}")
        elif self.verdicts.total() % STATUS == 0:
            told(self.drift.sentence())

    def end(self, vanished: int) -> None:
        """Say what there was."""
        counts = ", ".join(f"{count:,} {name}" for name, count in self.verdicts.most_common())
        gone = f" {vanished:,} vanished before they were judged." if vanished else ""
        told(f"Judged: {self.verdicts.total():,}{f' ({counts})' if counts else ''}.{gone} {self.drift.sentence()}")


@dataclasses.dataclass(frozen=True)
class _Line:
    """What is read back of a line."""

    key: Key
    verdict: str
    threshold: float | None


class _Lines:
    """The lines of what was judged: a file that goes on where it ended, or the standard output.

    count: how many lines there are.
    """

    def __init__(self, path: Path | None, as_csv: bool) -> None:
        self.path, self.as_csv, self.count = path, as_csv, 0
        self._has_header = False

    def append(self, row: dict[str, Any]) -> None:
        """Write a row as one line: after a kill it is whole, or not there."""
        if self.as_csv:
            line = csv_line([plain_cell(str(row[column])) if column == "path" else row[column] for column in COLUMNS])
            self._put(line if self._has_header else csv_line(COLUMNS) + line)
            self._has_header = True
        elif self.path is not None:
            append_line(self.path, row)
        else:
            print_json(row)
        self.count += 1

    def _put(self, text: str) -> None:
        if self.path is not None:
            append_text(self.path, text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    def read(self) -> Iterator[_Line]:
        """Yield the whole lines that are there; `UsageError` where they are of something else."""
        if self.path is None:
            return
        try:
            for row in self._rows(self.path):
                threshold = row["threshold"]
                key = (str(row["path"]), int(row["bytes"]), int(row["modified"]))
                yield _Line(key, str(row["verdict"]), float(threshold) if threshold not in (None, "") else None)
                self.count += 1
        except (PandaError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise UsageError(
                f"`{self.path}` holds something else than {'comma-separated' if self.as_csv else 'JSON'} lines of "
                "`score --watch`. Give another name with `--out`."
            ) from error

    def _rows(self, path: Path) -> Iterator[dict[str, Any]]:
        if not self.as_csv:
            yield from (row for row, _ in read_lines(path))
        elif path.exists():
            with open(path, newline="", encoding="utf-8", errors="replace") as file:  # a torn end may be no text
                whole = (line for line in file if line.endswith("\n"))
                if (header := next(whole, "")) not in ("", csv_line(COLUMNS)):
                    raise UsageError(f"The columns are {header.strip()}.")
                self._has_header = bool(header)
                for cells in csv.reader(whole, strict=True):
                    row = dict(zip(COLUMNS, cells, strict=True))
                    yield {**row, "path": text_of_cell(row["path"])}


@contextlib.contextmanager
def _lines_of(path: Path | None, *, as_csv: bool) -> Iterator[_Lines]:
    """Yield the lines once nobody else can write them. A path that ends in .csv is comma-separated."""
    as_csv = as_csv or (path is not None and path.suffix.lower() == ".csv")
    if path is None:
        yield _Lines(path, as_csv)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock").acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"`{path}` is being written by another process. Give another name with `--out`.") from error
    except OSError as error:
        raise UsageError(f"`{path}` cannot be written: {error.strerror}. Give another name with `--out`.") from error
    with lock:
        yield _Lines(path, as_csv)


def csv_line(cells: Sequence[object]) -> str:
    """Return cells as one comma-separated line; None is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
