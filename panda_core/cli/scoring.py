"""`score`: images and folders, scored by a run's detector."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from panda_core.cli.map_files import check_target, write_maps
from panda_core.cli.output import print_json, print_table
from panda_core.datasets import decode_image, image_files
from panda_core.datasets.images import shown_name
from panda_core.errors import UnreadableImage, UsageError
from panda_core.figures.heatmaps import fixed_scale
from panda_core.metrics import threshold_at
from panda_core.records import plain_cell
from panda_core.runs.loaded import LoadedRun, load_run
from panda_core.segmentation.maps import full_map

BATCH = 64


def score_command(parsed: argparse.Namespace) -> int:
    """Print path, score, percentile among held-out normals and verdict of each image; an unreadable one is named."""
    paths = list(_files(parsed.paths))
    if not 0 < parsed.false_alarm_rate < 1:
        raise UsageError(f"`--false-alarm-rate` must be in (0, 1); got {parsed.false_alarm_rate:g}. Set it to 0.05.")
    if parsed.maps:
        check_target(Path(parsed.maps))
    loaded = load_run(parsed.run, parsed.runs_dir)
    detector = loaded.detector()
    threshold = detector.threshold(parsed.false_alarm_rate) if len(detector.held_out_scores) else None
    rows: list[dict[str, Any]] = []
    starts = range(0, len(paths), BATCH)
    for start in track(starts, "Scoring", console=Console(stderr=True), disable=parsed.json):
        rows += _score_batch(detector, paths[start : start + BATCH], threshold)
    if parsed.json:
        print_json(rows)
    elif parsed.csv:
        writer = csv.DictWriter(sys.stdout, ["path", "score", "percentile", "verdict"])
        writer.writeheader()
        writer.writerows({**row, "path": plain_cell(row["path"])} for row in rows)
    else:
        cells = [[row["path"], _shown(row["score"]), _shown(row["percentile"]), row["verdict"]] for row in rows]
        print_table("Scores (higher = more anomalous)", ("path", "score", "percentile", "verdict"), cells)
    if parsed.maps:
        readable = [path for path, row in zip(paths, rows, strict=True) if row["score"] is not None]
        _write_maps(loaded, detector, readable, Path(parsed.maps), parsed.false_alarm_rate)
    return 0 if any(row["score"] is not None for row in rows) else 1


def _write_maps(loaded: LoadedRun, detector: Any, paths: list[Path], target: Path, rate: float) -> None:
    """Write the maps of images; refused with a sentence where the run has none."""

    def items() -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
        size, sigma = int(loaded.config.image_size or 0), float(loaded.config.set["sigma"])
        for path in paths:
            said = detector.segment([path])
            yield shown_name(str(path)), decode_image(path), full_map(said.grids[0], size, sigma), float(said.scores[0])

    if not loaded.is_segmentation:
        detector.segment([])  # raises, saying what to use instead
    threshold = threshold_at(loaded.arrays(loaded.segmented[-1].step)["held_out_peaks"], rate)
    scale = fixed_scale(loaded.maps(loaded.segmented[-1].step)["held_out_grids"], threshold)
    write_maps(target, items(), scale, threshold)


def _score_batch(detector: Any, paths: list[Path], threshold: float | None) -> list[dict[str, Any]]:
    """Return a row for each path; if one cannot be decoded, the batch is scored image by image."""
    try:
        scores = [float(score) for score in detector.anomaly_scores(paths)]
    except UnreadableImage as error:
        if len(paths) > 1:
            return [row for path in paths for row in _score_batch(detector, [path], threshold)]
        verdict = f"unreadable: {error}"
        return [{"path": shown_name(str(paths[0])), "score": None, "percentile": None, "verdict": verdict}]
    rows = []
    for path, score in zip(paths, scores, strict=True):
        percentile = float(detector.percentiles([score])[0]) if threshold is not None else None
        verdict = "-" if threshold is None else "anomalous" if score > threshold else "normal"
        rows.append({"path": shown_name(str(path)), "score": score, "percentile": percentile, "verdict": verdict})
    return rows


def _files(paths: list[str]) -> Iterator[Path]:
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = image_files(path)
            if not found:
                raise UsageError(f"`{path}` holds no images. Give image files, or a folder with some.")
            yield from (path / place for place in found)
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"`{path}` is neither a file nor a folder. Check the path.")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
