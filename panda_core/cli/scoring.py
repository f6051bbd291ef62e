"""`score`: images and folders, scored by the detector of a run or of a bundle."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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

from panda_core.cli.map_files import check_target, write_maps
from panda_core.cli.output import print_json, print_table, print_text
from panda_core.datasets import decode_image
from panda_core.datasets.io.listing import shown_name
from panda_core.datasets.own.matching import images_to_judge
from panda_core.errors import UnreadableImage, UsageError
from panda_core.figures.heatmaps import fixed_scale
from panda_core.records import plain_cell
from panda_core.runs.loaded import load_run
from panda_core.segmentation.maps import full_map

if TYPE_CHECKING:
    from panda_core.runs.detector import PandaDetector

BATCH = 64
BATCH_PIXELS = 16_000_000  # of decoded images at once: 64 of 500 x 500, or one photo
COLUMNS = ("path", "score", "percentile", "verdict")

Row = dict[str, Any]


def score_command(parsed: argparse.Namespace) -> int:
    """Print path, score, percentile among held-out normals and verdict of each image; an unreadable one is named."""
    paths = list(_files(parsed.paths))
    if not 0 < parsed.false_alarm_rate < 1:
        raise UsageError(f"`--false-alarm-rate` must be in (0, 1); got {parsed.false_alarm_rate:g}. Set it to 0.05.")
    if parsed.maps:
        check_target(Path(parsed.maps))
    detector = _opened(parsed)
    if parsed.maps:
        detector.check_maps()  # before any work
    rate = parsed.false_alarm_rate
    rows: list[Row] = []
    writer = csv.DictWriter(sys.stdout, COLUMNS)
    if parsed.csv:
        writer.writeheader()
    readable: list[Path] = []
    with _progress(parsed.json) as progress:
        task = progress.add_task("Scoring", total=len(paths))
        for batch in _decoded(paths):
            found = _scored(detector, batch, rate)
            readable += [path for (path, _), row in zip(batch, found, strict=True) if row["score"] is not None]
            progress.advance(task, len(found))
            if parsed.csv:
                writer.writerows({**row, "path": plain_cell(row["path"])} for row in found)
            else:
                rows += found
    if parsed.json:
        print_json(rows)
    elif not parsed.csv:
        cells = [[row["path"], _shown(row["score"]), _shown(row["percentile"]), row["verdict"]] for row in rows]
        print_table("Scores (higher = more anomalous)", COLUMNS, cells)
        print_text(detector.calibration.sentence(rate))
        if detector.calibration.warning:
            print_text(detector.calibration.warning)
    if parsed.maps:
        _write_maps(detector, readable, Path(parsed.maps), rate)
    return 0 if readable else 1


def _progress(disable: bool) -> Progress:
    """Return a bar on the error stream, with what is done, the speed and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=disable)


class _Speed(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.0f}/s")


def _opened(parsed: argparse.Namespace) -> PandaDetector:
    """Return the detector of a run or of a bundle."""
    from panda_core.export.opening import is_bundle, load_bundle

    references = list(_files(parsed.references or []))
    if is_bundle(Path(parsed.run)):
        return load_bundle(parsed.run, references=references or None)
    loaded = load_run(parsed.run, parsed.runs_dir)
    return loaded.generalizer(references) if references else loaded.detector()


def _write_maps(detector: PandaDetector, paths: list[Path], target: Path, rate: float) -> None:
    """Write the maps of images, all on the detector's one scale of colours."""
    calibration = detector.calibration
    scale = fixed_scale(calibration.map_low, calibration.map_middle, np.zeros((0, 1, 1)))

    def items() -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
        size, sigma = int(detector.config.image_size or 0), float(detector.config.set["sigma"])
        for path in paths:
            said = detector.segment([path])
            yield shown_name(str(path)), decode_image(path), full_map(said.grids[0], size, sigma), float(said.scores[0])

    write_maps(target, items(), scale, lambda score: calibration.verdict(score, rate))


_Batch = list[tuple[Path, np.ndarray | UnreadableImage]]


def _decoded(paths: list[Path]) -> Iterator[_Batch]:
    """Yield batches of decoded images, or why one is none. While one is scored, the next is decoded; no more than two
    are held, so that memory does not grow with the number of images."""
    waiting = iter(paths)

    def following() -> _Batch:
        batch: _Batch = []
        pixels = 0
        for path in waiting:
            try:
                image = decode_image(path)
                batch.append((path, image))
                pixels += image.shape[0] * image.shape[1]
            except UnreadableImage as error:
                batch.append((path, error))
            if len(batch) == BATCH or pixels > BATCH_PIXELS:
                break
        return batch

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(following)
        while batch := ahead.result():
            ahead = pool.submit(following)
            yield batch


def _scored(detector: PandaDetector, batch: _Batch, rate: float) -> list[Row]:
    """Return a row for each image of a batch."""
    calibration = detector.calibration
    images = [image for _, image in batch if isinstance(image, np.ndarray)]
    scores = iter(detector.anomaly_scores(images) if images else ())
    rows: list[Row] = []
    for path, image in batch:
        row: Row = {"path": shown_name(str(path)), "score": None, "percentile": None}
        if isinstance(image, UnreadableImage):
            rows.append({**row, "verdict": f"unreadable: {image}"})
            continue
        score = float(next(scores))
        percentile, verdict = calibration.percentile(score), calibration.verdict(score, rate)
        rows.append({**row, "score": score, "percentile": percentile, "verdict": verdict})
    return rows


def _files(paths: list[str]) -> Iterator[Path]:
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = images_to_judge(path)
            if found.masks:
                masks = f"{len(found.masks)} masks are" if len(found.masks) > 1 else "1 mask is"
                Console(stderr=True).print(f"`{path}`: {masks} left out.", markup=False)
            if not found.images:
                raise UsageError(f"`{path}` holds no images. Give image files, or a folder with some.")
            # Formats that are not read get a row as well, which says so.
            yield from (path / place for place in sorted([*found.images, *found.others]))
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"`{path}` is neither a file nor a folder. Check the path.")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
