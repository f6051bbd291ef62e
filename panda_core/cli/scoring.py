"""`score`: images and folders, scored by a run's detector."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from panda_core.cli.output import print_json, print_table
from panda_core.datasets import image_files
from panda_core.datasets.images import shown_name
from panda_core.errors import UnreadableImage, UsageError
from panda_core.runs.loaded import load_run

BATCH = 64


def score_command(parsed: argparse.Namespace) -> int:
    """Print path, score, percentile among held-out normals and verdict of each image; an unreadable one is named."""
    paths = list(_files(parsed.paths))
    if not 0 < parsed.false_alarm_rate < 1:
        raise UsageError(f"`--false-alarm-rate` must be in (0, 1); got {parsed.false_alarm_rate:g}. Set it to 0.05.")
    detector = load_run(parsed.run, parsed.runs_dir).detector()
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
        writer.writerows({**row, "path": _plain_cell(row["path"])} for row in rows)
    else:
        cells = [[row["path"], _shown(row["score"]), _shown(row["percentile"]), row["verdict"]] for row in rows]
        print_table("Scores (higher = more anomalous)", ("path", "score", "percentile", "verdict"), cells)
    return 0 if any(row["score"] is not None for row in rows) else 1


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


def _plain_cell(text: str) -> str:
    """Return text that a spreadsheet will not take for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
