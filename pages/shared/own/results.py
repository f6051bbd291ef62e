"""What a detector said of new images: verdicts, the most anomalous of them, maps, and files to take away."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.examine.scores import unit_of_scores
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.gallery.tiles import SIDE, Tile, show_tiles, verdict_of
from pages.shared.own.drop import show_left_out
from pages.shared.own.files import show_downloads
from pages.shared.own.learned import calibrated, final_scores, show_correction
from pages.shared.own.look import pictures_of
from pages.shared.runs.choice import choose_image, chosen_image
from pages.shared.runs.live import LOOK_EVERY
from pages.shared.segment.map_style import choose_style
from pages.shared.segment.maps import MapView, joined
from pages.shared.segment.viewer import show_viewer
from panda_core.datasets import FileImages, image_files
from panda_core.errors import BrokenRun, PandaError
from panda_core.records import read_json
from panda_core.runs.arrays import MapArrays
from panda_core.runs.calibration import RATE
from panda_core.runs.launch import how_check_ended
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.owner import TOKEN
from panda_core.runs.settings import levels_of_config
from panda_core.runs.uploads import JUDGED, Upload, find_upload, uploads_of_check

SLOW = 120  # seconds without progress after which people are told that something may be wrong
SOME = 6  # photos of which it means something that most are rejected
SHOWN = 24  # pictures of the highest scores

Row = dict[str, Any]
Places = tuple[DeltaGenerator, DeltaGenerator, DeltaGenerator]


def show_results(
    run: LoadedRun,
    token: str,
    rate: float | None,
    learned: Upload | None,
    places: Places,
) -> None:
    """Draw what a check found at the threshold of `rate`; until it has ended, how far it is.

    learned: the upload that the run learned from, which photos can be added to. places: those for the heading, and for
    the two choices of how maps are drawn.
    """
    output = check_of(run, token)
    if output is None:
        st.info("There is no check with the name in this address. Drop the images again.", icon=":material/search_off:")
        return
    if not (output / "result.json").is_file():
        st.fragment(_wait, run_every=LOOK_EVERY)(output)
        return
    try:
        result = read_json(output / "result.json")
        if result.get("error"):
            st.error(wording.sentence(str(result["error"])), icon=":material/error:")
            return
        upload = find_upload(uploads_of_check(output).get("upload", ""))
        _show_verdicts(run, output, (upload, learned), judged(run, result["rows"], upload, rate), rate, places)
    except (PandaError, KeyError, TypeError, IndexError) as error:
        words = str(error) if isinstance(error, PandaError) else "The result of this check is damaged. Score again."
        st.error(wording.sentence(words), icon=":material/broken_image:")


def check_of(run: LoadedRun, token: str) -> Path | None:
    """Return the folder of the check that an address names, or None. Paths and other tricks are none."""
    output = run.folder.checks(token) if TOKEN.fullmatch(token) else None
    return output if output is not None and output.is_dir() else None


def _wait(output: Path) -> None:
    if (output / "result.json").is_file():
        st.rerun()
    if problem := how_check_ended(output):
        st.error(problem, icon=":material/error:")
        return
    done, total, heard = 0, 0, output.stat().st_mtime
    with contextlib.suppress(PandaError, KeyError, OSError):
        progress = read_json(output / "progress.json")
        done, total = int(progress["done"]), int(progress["total"])
        heard = (output / "progress.json").stat().st_mtime
    spent = heard - (output / JUDGED).stat().st_mtime if done and (output / JUDGED).exists() else 0
    left = f", about {wording.duration(spent / done * (total - done))} left" if spent > 2 else ""
    st.progress(done / max(total, 1), text=f"scoring: {done} of {total}{left}" if total else "loading the detector")
    if time.time() - heard > SLOW:
        st.caption("This takes longer than it should. The process may have been ended: press Score again.")


def judged(run: LoadedRun, rows: list[Row], upload: Upload | None, rate: float | None) -> list[Row]:
    """Return the rows of a check under people's own names, with value, percentile and verdict at the threshold."""
    calibration, names = run.calibration, upload.names() if upload is not None else {}
    judged_rows = []
    for row in rows:
        value, verdict, percentile = row["score"], row["verdict"], None
        if value is not None:
            verdict, percentile = calibration.verdict(value, rate or RATE), calibration.percentile(value)
        name = names.get(row["path"], row["path"])
        judged_rows.append({**row, "name": name, "percentile": percentile, "verdict": verdict})
    return judged_rows


def _show_verdicts(
    run: LoadedRun,
    output: Path,
    uploads: tuple[Upload | None, Upload | None],
    rows: list[Row],
    rate: float | None,
    places: Places,
) -> None:
    """Draw verdicts and photos. uploads: the photos that were judged, and those that were learned from."""
    upload, learned = uploads
    scored = [row for row in rows if row["score"] is not None]
    rejected = sum(row["verdict"] == "anomalous" for row in scored)
    unit = 1.0 if run.kind.key == "few-shot" else final_scores(run, rate or RATE).unit
    found = "" if rate is None else f": {rejected} of {wording.count(len(scored), 'photo')} rejected"
    head, *drawing = places
    head.subheader(f"What was found{found}", anchor=False)
    if rate is not None and len(scored) >= SOME and 2 * rejected > len(scored):
        further = " Click on a good one and say so: it is learned from." if learned is not None else ""
        head.info(
            "Most are rejected. If most of them are good, they were taken otherwise than the good photos, in light, "
            f"place or make, and the false alarms to expect do not hold for them.{further}",
            icon=":material/compare:",
        )
    for dropped in (upload, _references_of(output)):
        if dropped is not None:
            show_left_out(dropped.understood)
    view = None

    def correcting(place: str) -> None:
        if learned is not None and upload is not None:
            show_correction(run, learned, place, upload)

    if upload is None:
        st.info("The images themselves have been removed since; their scores are here.", icon=":material/info:")
    elif scored and run.has_maps:
        mapped = [row for row in scored if row["map_row"] is not None]
        view = _view(run, output, upload, mapped, rate)
        style = choose_style(view.maps, *drawing)
        show_viewer(view, style, 0, [0], lambda image: correcting(str(mapped[image]["path"])))
    elif scored:
        correcting(_pictures(output, upload, scored, unit))
    st.caption(calibrated(run, rate or RATE))
    _table(run, rows, unit)
    show_downloads(output.name, rows, view)


def _table(run: LoadedRun, rows: list[Row], unit: float) -> None:
    lines = [
        {
            "Image": row["name"],
            "Verdict": row["verdict"],
            "Score": None if row["score"] is None else row["score"] / unit,
            "Higher than % of normals": row["percentile"],
            **({"Highest map value": row["peak"]} if run.has_maps else {}),
        }
        for row in rows
    ]
    st.dataframe(
        pd.DataFrame(lines).sort_values("Score", ascending=False, na_position="last"),
        width="stretch",
        hide_index=True,
        height=min(400, 38 + 35 * len(lines)),
        key="own-table",
        alt="Verdict, value and percentile of each image, the most anomalous first",
        column_config={
            "Verdict": st.column_config.TextColumn(help=tip("verdict")),
            "Score": st.column_config.NumberColumn(format="%.3g", help=unit_of_scores(run)),
            "Highest map value": st.column_config.NumberColumn(format="%.3g", help=tip("map_peak")),
            "Higher than % of normals": st.column_config.NumberColumn(format="%.0f", help=tip("percentile")),
        },
    )


def _pictures(output: Path, upload: Upload, rows: list[Row], unit: float) -> str:
    """Draw the photos, the highest scores first, and return the place of the chosen one."""
    rows = sorted(rows, key=lambda row: -row["score"])[:SHOWN]
    pictures = pictures_of(upload, [row["path"] for row in rows], SIDE)
    asked = chosen_image(len(rows)) or 0
    rejected = {"anomalous": True, "normal": False}
    show_tiles(
        [
            Tile(
                number,
                picture,
                name=row["name"],
                verdict=verdict_of(rejected.get(row["verdict"])),
                note=wording.amount(row["score"] / unit),
            )
            for number, (row, picture) in enumerate(zip(rows, pictures, strict=True))
        ],
        key=f"own-scored-{output.name}",
        label="Photos that were scored, the highest score first",
        on_click=choose_image,
        chosen=asked,
    )
    if len(rows) == SHOWN:
        st.caption(f"The {SHOWN} highest scores; all are in the table.")
    return str(rows[asked]["path"])


def _view(run: LoadedRun, output: Path, upload: Upload, rows: list[Row], rate: float | None) -> MapView:
    """Return images with their maps, on the scale of the run and judged by its calibration."""
    map_rows = np.array([int(row["map_row"]) for row in rows])
    arrays = MapArrays.read(output / "maps.npz").rows(map_rows)
    if not run.segmented:
        raise BrokenRun(f"Run `{run.run_id}` has no maps of its own to compare with. Compute it again.")
    maps = joined(
        run,
        [row["name"] for row in rows],
        np.array([row["score"] for row in rows]),
        np.array([row["peak"] for row in rows]),
        arrays,
        run.calibration,
    )
    images = FileImages.below(upload.images, [row["path"] for row in rows], levels_of_config(run.config))
    known_class = _references(output)
    unmarked = np.zeros(len(rows), bool)
    key = f"{run.run_id}/{output.name}"
    return MapView(run, key, maps, images, "", None, None, unmarked, known_class, rate or RATE)


def _references(output: Path) -> FileImages | None:
    """Return the references that a check came with, in the order in which they were compared; None without."""
    upload = _references_of(output)
    return None if upload is None else FileImages.below(upload.images, image_files(upload.images))


def _references_of(output: Path) -> Upload | None:
    token = uploads_of_check(output).get("references")
    if token is None:
        return None
    upload = find_upload(token)
    if upload is None:
        raise BrokenRun("The references of this check have been removed since. Drop them again.")
    return upload
