"""A process that looks at new images with a finished segmentation run, for the app.

`panda_core.runs.launch.check` starts it as `python -m panda_core.cli.checking RUN IMAGES OUT`. It writes `maps.npz`
(`grids`, `distances_i` and `origins_i` as a run's own, `names`) and then `result.json`: `rows` of path, score,
percentile, verdict, peak, map_percentile and map_row, or `error`, a sentence.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from panda_core.cli import wait_without_spinning
from panda_core.errors import PandaError, UnreadableImage
from panda_core.records import write_arrays, write_json


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
    from panda_core.datasets import decode_image, image_files
    from panda_core.metrics import percentile_among, threshold_at
    from panda_core.runs.loaded import LoadedRun
    from panda_core.runs.patchwise import patchwise
    from panda_core.runs.segmenting import FALSE_ALARM_RATE, joined
    from panda_core.runs.store import RunFolder

    learned = patchwise(LoadedRun(RunFolder(run)))
    threshold = threshold_at(learned.held_out_peaks, FALSE_ALARM_RATE)
    rows: list[dict[str, Any]] = []
    parts, names = [], list[str]()
    for place in image_files(images):
        row: dict[str, Any] = {"path": place, "score": None, "peak": None, "percentile": None, "map_percentile": None}
        try:
            part = learned.segment([decode_image(images / place, place)])
        except UnreadableImage as error:
            rows.append({**row, "verdict": f"unreadable: {error}", "map_row": None})
            continue
        score, peak = float(part.scores[0]), float(learned.peaks(part.grids)[0])
        rows.append(
            {
                "path": place,
                "score": score,
                "peak": peak,
                "percentile": float(percentile_among(learned.held_out_scores, np.array([score]))[0]),
                "map_percentile": float(percentile_among(learned.held_out_peaks, np.array([peak]))[0]),
                "verdict": "anomalous" if peak > threshold else "normal",
                "map_row": len(names),
            }
        )
        parts.append(part)
        names.append(place)
    if parts:
        whole = joined(parts)
        groups = range(len(whole.distances))
        arrays = {"grids": whole.grids, "names": np.array(names)}
        arrays |= {f"distances_{group}": whole.distances[group] for group in groups}
        write_arrays(out / "maps.npz", arrays | {f"origins_{group}": whole.origins[group] for group in groups})
    write_json(out / "result.json", {"rows": rows, "error": "" if rows else "There are no images to look at."})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
