"""`score`: images and folders, scored by the detector of a run or of a bundle."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from panda_core.cli.map_files import check_outside, check_target, write_maps
from panda_core.cli.output import print_json, print_table, print_text
from panda_core.cli.reporting import check_page, write_page
from panda_core.cli.watching import check_watch, watch_command
from panda_core.datasets.io.listing import shown_name
from panda_core.datasets.own.matching import images_to_judge
from panda_core.errors import UsageError
from panda_core.figures.heatmaps import fixed_scale
from panda_core.records import plain_cell
from panda_core.report.score_report import ScoreReport
from panda_core.runs.calibration import RATE
from panda_core.runs.detector import PandaDetector
from panda_core.runs.loaded import load_run
from panda_core.runs.score import COLUMNS, ScoredImage, map_of, score_files


def score_command(parsed: argparse.Namespace) -> int:
    """Print path, score, percentile among held-out normals and verdict of each image; an unreadable one is named."""
    check_rate(parsed.false_alarm_rate)
    if parsed.watch:
        check_watch(parsed)
        return watch_command(parsed, opened(parsed))
    if parsed.out:
        raise UsageError(f"`--out` is for `--watch`; got `{parsed.out}`. Leave it out, or send the output into a file.")
    files = [(shown_name(str(path)), path) for path in given_files(parsed.paths)]
    if parsed.maps:
        check_target(Path(parsed.maps))
        for folder in filter(Path.is_dir, map(Path, parsed.paths)):
            check_outside(Path(parsed.maps), folder)
    if parsed.report:
        check_page(Path(parsed.report), "--report")
    detector, rate = opened(parsed), parsed.false_alarm_rate
    if parsed.maps:
        detector.check_maps()  # before any work
    rows: list[dict[str, Any]] = []
    scoring = _watched(score_files(detector, files, rate=rate), len(files), quiet=parsed.json)
    printing = _printed(scoring, rows, as_csv=parsed.csv)
    if parsed.report:
        printing = _reported(printing, ScoreReport(detector, Path(parsed.run).name, rate=rate), Path(parsed.report))
    if parsed.maps:
        _write_maps(detector, printing, Path(parsed.maps), rate)
    for _ in printing:
        pass
    if parsed.json:
        print_json(rows)
    elif not parsed.csv:
        cells = [[row["path"], _shown(row["score"]), _shown(row["percentile"]), row["verdict"]] for row in rows]
        print_table("Scores (higher = more anomalous)", COLUMNS, cells)
        print_text(detector.calibration.sentence(rate))
        if detector.calibration.warning:
            print_text(detector.calibration.warning)
    return 0 if any(row["score"] is not None for row in rows) else 1


def check_rate(rate: float) -> None:
    """Raise `UsageError` for a share of false alarms that cannot be asked for."""
    if not 0 < rate < 1:
        raise UsageError(f"`--false-alarm-rate` must be in (0, 1); got {rate:g}. Set it to {RATE}.")


def _printed(scoring: Iterator[ScoredImage], rows: list[dict[str, Any]], *, as_csv: bool) -> Iterator[ScoredImage]:
    """Yield what comes, once its row is appended to `rows`, and printed where the output is comma-separated."""
    writer = csv.DictWriter(sys.stdout, COLUMNS)
    if as_csv:
        writer.writeheader()
    for scored in scoring:
        row = scored.row()
        rows.append(row)
        if as_csv:
            writer.writerow({**row, "path": plain_cell(row["path"])})
        yield scored


def _reported(scoring: Iterator[ScoredImage], report: ScoreReport, target: Path) -> Iterator[ScoredImage]:
    """Yield what comes, and write the page once all of it was taken into account."""
    for scored in scoring:
        report.add(scored)
        yield scored
    write_page(target, report.page().encode())


def _watched(scoring: Iterator[ScoredImage], total: int, *, quiet: bool) -> Iterator[ScoredImage]:
    """Yield what comes, while a bar on the error stream shows how much of it there was, the speed and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("Scoring", total=total)
        for scored in scoring:
            progress.advance(task)
            yield scored


class _Speed(ProgressColumn):
    """Images a second since the start: rich's own speed is that within a batch, whose images come all at once."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:.0f}/s" if task.completed and task.elapsed else "")


def opened(parsed: argparse.Namespace) -> PandaDetector:
    """Return the detector of a run or of a bundle."""
    from panda_core.export.opening import is_bundle, load_bundle

    references = list(given_files(parsed.references or []))
    if is_bundle(Path(parsed.run)):
        return load_bundle(parsed.run, references=references or None)
    loaded = load_run(parsed.run, parsed.runs_dir)
    return loaded.generalizer(references) if references else loaded.detector()


def _write_maps(detector: PandaDetector, scoring: Iterator[ScoredImage], target: Path, rate: float) -> None:
    """Write the maps of images as they come, all on the detector's one scale of colours."""
    calibration = detector.calibration
    scale = fixed_scale(calibration.map_low, calibration.map_middle)
    items = (
        (scored.name, scored.image, values, float(scored.score or 0))
        for scored in scoring
        if scored.image is not None and (values := map_of(detector, scored)) is not None
    )
    write_maps(target, items, scale, lambda score: calibration.verdict(score, rate))


def given_files(paths: list[str]) -> Iterator[Path]:
    """Yield the image files that paths of files and folders mean; `UsageError` for a path that is neither."""
    for text in paths:
        path = Path(text)
        if path.is_dir():
            listed = images_to_judge(path)
            if listed.masks:
                masks = f"{len(listed.masks)} masks are" if len(listed.masks) > 1 else "1 mask is"
                Console(stderr=True).print(f"`{path}`: {masks} left out.", markup=False)
            if not listed.images:
                raise UsageError(f"`{path}` holds no images. Give image files, or a folder with some.")
            # Formats that are not read get a row as well, which says so.
            yield from (path / name for name in sorted([*listed.images, *listed.others]))
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"`{path}` is neither a file nor a folder. Check the path.")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
