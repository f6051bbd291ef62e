"""The detector of a finished run as one file to take away, and how it is used elsewhere."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import is_recorded
from panda_core.runs import launch as launching
from panda_core.runs.folder import RunFolder

KEPT = ("checkpoints", "galleries", "banks")  # folders of a run that make up most of a bundle
MOST_BYTES = 400_000_000  # the server holds a download in memory


def can_score(folder: RunFolder) -> bool:
    """Return whether a run still has what it takes to score new images."""
    return not is_recorded(folder) and any((folder.path / kept).is_dir() for kept in ("banks", "checkpoints"))


def file_name(folder: RunFolder) -> str:
    """Return what the file is called when it is downloaded."""
    return f"{folder.run_id}-detector.zip"


def download_detector(folder: RunFolder) -> None:
    """Draw the button that has the bundle of a run written, by a process of its own, and downloads it."""
    large = sum(path.stat().st_size for kept in KEPT for path in (folder.path / kept).glob("*")) > MOST_BYTES
    st.download_button(
        "Download detector",
        data=lambda: bundled(folder),
        file_name=file_name(folder),
        mime="application/zip",
        icon=":material/deployed_code:",
        on_click="ignore",
        disabled=large,
        key="detector",
        help=tip("detector_too_large" if large else "detector"),
    )


def bundled(folder: RunFolder) -> BinaryIO:
    """Return the bundle of a run as an open file that vanishes when it is closed."""
    with tempfile.TemporaryDirectory(prefix="panda-detector-") as place:
        out = Path(place) / "detector.zip"
        launching.bundle(folder, out)
        return cast(BinaryIO, open(out, "rb"))


def show_use(folder: RunFolder, *, maps: bool) -> None:
    """Draw the detector's file and what to do with it."""
    st.subheader("Use the detector elsewhere")
    st.markdown(
        "One file with the adapted weights or the bank of normal patches, and the threshold: safetensors and JSON, "
        "each with its hash, no code and none of your images. It is checked against this run before you get it."
    )
    download_detector(folder)
    name = file_name(folder)
    terminal, python = st.tabs(["In a terminal", "In Python"])
    more = " --maps maps.zip" if maps else ""
    terminal.code(
        f"python -m panda_core score {name} FOLDER --csv{more} > verdicts.csv", language="bash", wrap_lines=True
    )
    python.code(_PYTHON.format(name=name, more=_MAPS if maps else ""), language="python", wrap_lines=True)


_PYTHON = """from panda_core import load_bundle

detector = load_bundle("{name}")
detector.anomaly_scores(["new.jpg"])  # higher = more anomalous
detector.predict(["new.jpg"], false_alarm_rate=0.05)  # 1 anomalous, 0 normal{more}
"""
_MAPS = '\ndetector.anomaly_maps(["new.jpg"])  # (1, S, S)'
