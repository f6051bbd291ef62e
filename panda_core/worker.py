"""A process that is ready to compute for the app: it imports what a job needs, then reads one job from its input.

`panda_core.runs.launch` starts it as `python -m panda_core.worker`. A job is a line of JSON, a list of a name of `JOBS`
and its arguments; an end of input instead means that whoever started it is gone: it ends too. Once it computes, it
depends on nobody. It is an entry point like `__main__`, and stands here because it writes detectors as files, of
which runs know nothing.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from panda_core.datasets import decode_image, image_files
from panda_core.errors import PandaError
from panda_core.records import read_json, write_arrays, write_json
from panda_core.runs.arrays import MapArrays
from panda_core.runs.detector import PandaDetector
from panda_core.runs.folder import RunFolder
from panda_core.runs.launch import PROGRESS, REFERENCES, RESULT, export_answer
from panda_core.runs.loaded import LoadedRun, load_run
from panda_core.runs.run import resume, stop_on_signal
from panda_core.runs.score import ScoredImage, score_files
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.results import PatchResult
from panda_core.segmentation.tiles import drawing_of

BATCH = 16  # images between two looks at the clock
TELL_EVERY = 0.5  # seconds
IDLE = 600.0  # seconds
MOST_MAPS = 1000  # nearest patches of more would not fit into memory,
MOST_PATCHES = 5_000_000  # nor those of photos with more patches than these together: 300 MB
AHEAD = (
    "faiss",
    "panda_core.backbones.lite_network",
    "panda_core.runs.adapt.opened",
    "panda_core.runs.segment.loop",
)


def main() -> int:
    """Do one job; return the exit code."""
    for module in AHEAD:
        importlib.import_module(module)
    line = sys.stdin.readline().strip()
    if not line:
        return 0
    name, *arguments = json.loads(line)
    return JOBS[name](*(Path(argument) for argument in arguments))


def compute(run: Path) -> int:
    """Compute a run to its end, when its turn comes; return 0, or 1 where it was stopped or failed."""
    folder = RunFolder(run)
    with open(folder.output_file, "ab") as output:
        os.dup2(output.fileno(), 2)  # what a run has to complain of belongs into its folder
    try:
        with stop_on_signal() as should_stop:
            for _ in resume(folder, should_stop=should_stop, queued=True):
                pass
    except PandaError as error:
        sys.stderr.write(f"panda_core: {error}\n")
        return 1
    return 0 if folder.state().state == "finished" else 1


def check(run: Path, images: Path, out: Path) -> int:
    """Score the image files in folder `images`; return 0, or 1 where `error` says why not.

    It writes `PROGRESS` into `out` (done, total) as it goes and then `RESULT`: `rows` of path, score, percentile and
    verdict, or `error`, a sentence. With maps the rows hold peak, the map's highest value, and map_row as well, and
    `maps.npz` holds `MapArrays` and `names`, of at most `MOST_MAPS` images.
    """
    try:
        rows = _check(LoadedRun(RunFolder(run)), images, out)
    except Exception as error:  # whatever it is, the page that waits must hear of it
        write_json(out / RESULT, {"rows": [], "error": _sentence(error)})
        return 1
    write_json(out / RESULT, {"rows": rows, "error": "" if rows else "There are no images to look at."})
    return 0


def _check(run: LoadedRun, images: Path, out: Path) -> list[dict[str, Any]]:
    """Return a row for each image file, and write the maps of all down, where there are any."""
    names = image_files(images)
    detector = run.detector() if not (out / REFERENCES).exists() else run.generalizer(_references(out))
    size, sigma = drawing_of(run.config)
    rows: list[dict[str, Any]] = []
    mapped: list[ScoredImage] = []
    last_look, patches = 0.0, 0
    files = [(name, images / name) for name in names]
    write_json(out / PROGRESS, {"done": 0, "total": len(names)})
    for scored in score_files(detector, files, batch=BATCH):
        row = scored.row()
        if detector.has_maps:
            grid = None if scored.result is None else scored.result.grids[0]
            row["peak"] = None if grid is None else float(full_map(grid, size, sigma, detector.region).max())
            patches += 0 if scored.result is None else _patches(scored.result)
            keeps = grid is not None and len(mapped) < MOST_MAPS and patches <= MOST_PATCHES
            row["map_row"] = len(mapped) if keeps else None
            mapped += [dataclasses.replace(scored, image=None)] if keeps else []  # its pixels are no longer needed
        rows.append(row)
        if time.monotonic() - last_look > TELL_EVERY:
            write_json(out / PROGRESS, {"done": len(rows), "total": len(names)})
            last_look = time.monotonic()
    _write_maps(out, mapped)
    return rows


def _patches(result: PatchResult) -> int:
    """Return of how many patches of an image the nearest ones are known."""
    return sum(int(np.prod(group.shape[1:3])) for group in result.distances)


def _references(out: Path) -> list[np.ndarray]:
    """Return the decoded references of a new class, with which a check came."""
    folder = Path(read_json(out / REFERENCES)["folder"])
    return [decode_image(folder / name, name) for name in image_files(folder)]


def _write_maps(out: Path, mapped: list[ScoredImage]) -> None:
    results = [scored.result for scored in mapped if scored.result is not None]
    if results:
        whole = type(results[0]).joined(results)
        maps = MapArrays(whole.grids, np.zeros((0, 1, 1), np.float32), whole.distances, whole.origins, whole.cells)
        write_arrays(out / "maps.npz", {**maps.by_name(), "names": np.array([scored.name for scored in mapped])})


def compare(run: Path) -> int:
    """Open the detector of a run and answer, a line of input at a time, what it says of an image; return 0.

    A line is a list of two paths: an .npy of the image (H, W, 3), and the .npz to write, with score, grid and error, a
    sentence. It ends with its input, or after `IDLE` seconds without a question.
    """
    said, unopened = None, ""
    try:
        detector = LoadedRun(RunFolder(run)).detector()
        said = _said_by(detector)
        said(detector.blank)  # the first image takes longest: it is not somebody's
    except Exception as error:  # whatever it is, the page that asks must hear of it
        unopened = _sentence(error)
    while line := _next_line():
        picture, answer = json.loads(line)
        score, grid, reason = 0.0, np.zeros((0, 0), np.float32), unopened
        try:
            if said is not None:
                score, grid = said(np.load(picture, allow_pickle=False))
        except Exception as error:
            reason = _sentence(error)
        write_arrays(Path(answer), {"score": np.array(score), "grid": grid, "error": np.array(reason)})
    return 0


def _said_by(detector: PandaDetector) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Return image (H, W, 3) -> (score, grid (g, g) of its map; empty for a detector without maps)."""

    def said(image: np.ndarray) -> tuple[float, np.ndarray]:
        if not detector.has_maps:
            return float(detector.anomaly_scores([image])[0]), np.zeros((0, 0), np.float32)
        result = detector.segment([image])
        return float(result.scores[0]), result.grids[0]

    return said


def _next_line() -> str:
    """Return the next line of the input, "" at its end; without one for `IDLE` seconds, this process ends."""
    clock = threading.Timer(IDLE, os._exit, [0])
    clock.daemon = True
    clock.start()
    try:
        return sys.stdin.readline().strip()
    finally:
        clock.cancel()


def bundle(run: Path, out: Path) -> int:
    """Write the bundle of a run, with its corrections, to `out`, a .zip; return 0, or 1: a sentence says why."""
    from panda_core.export.bundle import write_bundle

    return _exported(out, lambda: write_bundle(load_run(run), out))


def onnx(run: Path, out: Path) -> int:
    """Write the detector of a run, corrections included, to `out`, an .onnx; return 0, or 1: a sentence says why."""
    from panda_core.export.network_file import write_network

    return _exported(out, lambda: write_network(load_run(run), out, "onnx"))


def _exported(out: Path, write: Callable[[], object]) -> int:
    reason = ""
    try:
        write()
    except Exception as error:  # whatever it is, the page that waits must hear of it
        reason = _sentence(error)
    write_json(export_answer(out), {"error": reason})
    return 1 if reason else 0


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, PandaError) else f"{type(error).__name__}: {error}"


JOBS: dict[str, Callable[..., int]] = {
    "run": compute,
    "check": check,
    "compare": compare,
    "bundle": bundle,
    "onnx": onnx,
}

if __name__ == "__main__":
    sys.exit(main())
