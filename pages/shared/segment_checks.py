"""What a finished run said of photos that were checked with it: a folder of the run, read when it is there."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared import wording
from pages.shared.glossary import tip
from pages.shared.live import LOOK_EVERY
from pages.shared.segment_archive import download_maps
from pages.shared.segment_look import choose_look, choose_threshold
from pages.shared.segment_maps import Looked, joined
from pages.shared.segment_viewer import show_viewer
from pages.shared.uploads import NAMES
from panda_core.datasets import FileImages
from panda_core.errors import BrokenRun, PandaError
from panda_core.records import read_arrays, read_json
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.store import RunFolder

CHECK = "check"  # query parameter: which check of the run
SLOW = 120  # seconds after which people are told that something may be wrong
PHOTOS = "photos.json"  # in the folder of a check: where its photos lie
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def show_check(folder: RunFolder, token: str) -> None:
    """Draw what a check found; until it has, look again and again."""
    output = folder.path / "checks" / token
    if not _TOKEN.fullmatch(token) or not output.is_dir():
        st.info("There is no check with the name in this address. Drop the photos again.", icon=":material/search_off:")
        return
    if not (output / "result.json").is_file():
        st.fragment(_wait, run_every=LOOK_EVERY)(output)
        return
    try:
        result = read_json(output / "result.json")
        if result.get("error"):
            st.error(wording.sentence(str(result["error"])), icon=":material/error:")
            return
        photos = Path(read_json(output / PHOTOS)["folder"])
        _found(LoadedRun(folder), output, photos, result["rows"])
    except (PandaError, KeyError, TypeError, IndexError) as error:
        words = str(error) if isinstance(error, PandaError) else "The result of this check is damaged. Check again."
        st.error(wording.sentence(words), icon=":material/broken_image:")


def _wait(output: Path) -> None:
    if (output / "result.json").is_file():
        st.rerun()
    st.progress(0.5, text="comparing your photos with normal patches")
    if time.time() - output.stat().st_mtime > SLOW:
        st.caption("This takes longer than it should. The process may have been ended: press Check again.")


def _found(run: LoadedRun, output: Path, photos: Path, rows: list[dict[str, Any]]) -> None:
    own = _own_names(photos)
    named = [(own.get(row["path"], row["path"]), row) for row in rows]
    st.subheader("What was found")
    _table(named)
    readable = [(name, row) for name, row in named if row["score"] is not None]
    if not readable:
        return
    view = _view(run, output, photos, readable)
    threshold = choose_threshold(view.found, st.columns([1, 1])[0])
    look = choose_look(view.found, threshold)
    show_viewer(view, look, 0, [0])
    download_maps(view, output.name)


def _table(named: list[tuple[str, dict[str, Any]]]) -> None:
    lines = [
        {
            "Photo": name,
            "Verdict": wording.NONE if row["score"] is None else str(row["verdict"]),
            "Score": wording.amount(row["score"]),
            "Above, % of normals": wording.NONE if row["percentile"] is None else f"{row['percentile']:.0f}",
            "Highest map value": wording.amount(row.get("peak")),
        }
        for name, row in named
    ]
    columns = (("Verdict", "verdict"), ("Score", "map_score"), ("Above, % of normals", "percentile"))
    st.dataframe(
        pd.DataFrame(lines),
        width="stretch",
        hide_index=True,
        height="content",
        key="check-table",
        alt="Verdict, score and highest map value of each photo",
        column_config={
            **{name: st.column_config.TextColumn(help=tip(term)) for name, term in columns},
            "Highest map value": st.column_config.TextColumn(help=tip("map_peak")),
        },
    )


def _view(run: LoadedRun, output: Path, photos: Path, readable: list[tuple[str, dict[str, Any]]]) -> Looked:
    """Return the readable photos of a check, calibrated as the run is."""
    places = np.array([int(row["map_row"]) for _, row in readable])
    maps = {name: array[places] for name, array in read_arrays(output / "maps.npz").items() if name != "names"}
    if not run.segmented:
        raise BrokenRun(f"Run `{run.run_id}` has no maps of its own to compare with. Compute it again.")
    step = run.segmented[-1].step
    found = joined(
        run,
        [name for name, _ in readable],
        np.array([row["score"] for _, row in readable]),
        np.array([row["peak"] for _, row in readable]),
        maps,
        run.arrays(step),
        run.maps(step)["held_out_grids"],
    )
    images = FileImages.below(photos, [row["path"] for _, row in readable])
    marked = np.zeros(len(readable), bool)
    return Looked(run, f"{run.run_id}/{output.name}", found, images, "", None, None, marked)


def _own_names(photos: Path) -> dict[str, str]:
    """Return what people called each photo, by the name of its file; empty where that is no longer known."""
    try:
        return {str(place): str(name) for place, name in read_json(photos.parent / NAMES).items()}
    except (PandaError, AttributeError):
        return {}
