"""A process that looks at new images with any finished run, for the app.

`panda_core.runs.launch.check` starts it, or hands the job to a process that is ready: RUN IMAGES OUT. It writes
`progress.json` (done, total) as it goes and then `result.json`: `rows` of path, score, percentile and verdict, or
`error`, a sentence. For a segmentation run the rows hold peak, the map's highest value, and map_row as
well, and `maps.npz` holds `grids`, `distances_i` and `origins_i` as a run's own, and `names`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from panda_core.cli import wait_without_spinning
from panda_core.errors import PandaError, UnreadableImage
from panda_core.records import write_arrays, write_json

if TYPE_CHECKING:
    from panda_core.runs.loaded import LoadedRun
    from panda_core.runs.segment.opened import Patchwise

BATCH = 16  # images between two looks at the clock
TELL_EVERY = 0.5  # seconds
MOST_MAPS = 1000  # nearest patches of more would not fit into memory

Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Look at all images; return 0, or 1 where `error` says why not."""
    wait_without_spinning()
    run, images, out = (Path(argument) for argument in arguments)
    try:
        _check(run, images, out)
    except Exception as error:  # whatever it is, the page that waits must hear of it
        reason = str(error) if isinstance(error, PandaError) else f"{type(error).__name__}: {error}"
        write_json(out / "result.json", {"rows": [], "error": reason})
        return 1
    return 0


def _check(run: Path, images: Path, out: Path) -> None:
    from panda_core.datasets import image_files
    from panda_core.runs.folder import RunFolder
    from panda_core.runs.loaded import LoadedRun

    loaded, places = LoadedRun(RunFolder(run)), image_files(images)
    judge = _judge_of_maps(loaded, out) if loaded.has_maps else _judge_of_scores(loaded)
    rows: list[Row] = []
    told = 0.0
    for start in range(0, len(places), BATCH):
        if time.monotonic() - told > TELL_EVERY:
            write_json(out / "progress.json", {"done": start, "total": len(places)})
            told = time.monotonic()
        rows += _judged(images, places[start : start + BATCH], judge)
    judge([], [])
    write_json(out / "result.json", {"rows": rows, "error": "" if rows else "There are no images to look at."})


Judge = Callable[[list[str], list[np.ndarray]], list[Row]]


def _judged(images: Path, places: list[str], judge: Judge) -> list[Row]:
    """Return a row for each image of a batch, in order; one that cannot be decoded has no score."""
    from panda_core.datasets import decode_image

    readable: dict[str, np.ndarray] = {}
    rows: dict[str, Row] = {}
    for place in places:
        try:
            readable[place] = decode_image(images / place, place)
        except UnreadableImage as error:
            empty = dict.fromkeys(("score", "percentile", "peak", "map_row"))
            rows[place] = {"path": place, **empty, "verdict": f"unreadable: {error}"}
    if readable:
        rows |= {row["path"]: row for row in judge(list(readable), list(readable.values()))}
    return [rows[place] for place in places]


def _judge_of_scores(loaded: LoadedRun) -> Judge:
    """Return what judges images by the scores of an adapted network."""
    detector, calibration = loaded.detector(), loaded.calibration

    def judge(places: list[str], decoded: list[np.ndarray]) -> list[Row]:
        scores = detector.anomaly_scores(decoded)
        return [
            {
                "path": place,
                "score": float(score),
                "percentile": calibration.percentile(float(score)),
                "verdict": calibration.verdict(float(score)),
            }
            for place, score in zip(places, scores, strict=True)
        ]

    return judge


def _judge_of_maps(loaded: LoadedRun, out: Path) -> Judge:
    """Return what judges images by comparing their patches; without images it writes the maps down."""
    from panda_core.runs.segment.loop import joined

    learned = _beside_references(loaded, out) or cast("Patchwise", loaded.kind.open(loaded))
    calibration = loaded.calibration
    parts: list[Any] = []
    names: list[str] = []

    def judge(places: list[str], decoded: list[np.ndarray]) -> list[Row]:
        if not decoded:
            if parts:
                _write_maps(out, joined(parts), names)
            return []
        part = learned.segment(decoded)
        rows: list[Row] = []
        for place, score, peak in zip(places, part.scores, learned.peaks(part.grids), strict=True):
            rows.append(
                {
                    "path": place,
                    "score": float(score),
                    "peak": float(peak),
                    "percentile": calibration.percentile(float(score)),
                    "verdict": calibration.verdict(float(score)),
                    "map_row": len(names) + len(rows) if len(names) + len(places) <= MOST_MAPS else None,
                }
            )
        if len(names) + len(places) <= MOST_MAPS:
            parts.append(part)
            names.extend(places)
        return rows

    return judge


def _beside_references(loaded: LoadedRun, out: Path) -> Patchwise | None:
    """Return the run's model with the references of a new class, where the check came with some."""
    from panda_core.datasets import decode_image, image_files
    from panda_core.records import read_json
    from panda_core.runs.few_shot.opened import open_few_shot
    from panda_core.runs.launch import REFERENCES

    if not (out / REFERENCES).exists():
        return None
    folder = Path(read_json(out / REFERENCES)["folder"])
    return open_few_shot(loaded, [decode_image(folder / place, place) for place in image_files(folder)])


def _write_maps(out: Path, whole: Any, names: list[str]) -> None:
    groups = range(len(whole.distances))
    arrays = {"grids": whole.grids, "names": np.array(names)}
    arrays |= {f"distances_{group}": whole.distances[group] for group in groups}
    write_arrays(out / "maps.npz", arrays | {f"origins_{group}": whole.origins[group] for group in groups})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
