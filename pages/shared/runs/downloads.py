"""What can be taken away of a run: its folder as one zip file, and its detector, with how that is used elsewhere."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import is_recorded
from panda_core.errors import UsageError
from panda_core.runs import launch as launching
from panda_core.runs.folder import RunFolder

LARGE_FOLDERS = ("checkpoints", "galleries", "banks")  # folders of a run that make up most of a bundle
MOST_DETECTOR_BYTES = 400_000_000  # the server holds a download in memory
# Large, and made again by running the same settings.
LEFT_OUT = ("checkpoints", "galleries", "momentum", "banks", "checks")
MOST_RUN_BYTES = 200_000_000


def zipped(folder: RunFolder) -> BinaryIO:
    """Return an open temporary file with the run's folder, without the adapted weights; it vanishes when closed.

    It grows on the disk, not in memory. More than `MOST_RUN_BYTES` raises `UsageError`.
    """
    paths = [
        path
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.relative_to(folder.path).parts[0] not in LEFT_OUT
    ]
    if sum(path.stat().st_size for path in paths) > MOST_RUN_BYTES:
        raise UsageError(
            f"Run `{folder.run_id}` is larger than {MOST_RUN_BYTES // 1_000_000} MB. Copy its folder by hand instead."
        )
    file = downloadable()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, f"{folder.run_id}/{path.relative_to(folder.path).as_posix()}")
    file.seek(0)
    return file


def downloadable() -> BinaryIO:
    """Return a new temporary file to write and then hand to a download button; it vanishes when closed.

    Without a buffer: of the files that Python opens for reading and writing, Streamlit takes no other kind.
    """
    return cast(BinaryIO, tempfile.TemporaryFile(buffering=0))


def can_score(folder: RunFolder) -> bool:
    """Return whether a run still has what it takes to score new images."""
    return not is_recorded(folder) and any((folder.path / kept).is_dir() for kept in ("banks", "checkpoints"))


def file_name(folder: RunFolder) -> str:
    """Return what the file is called when it is downloaded."""
    return f"{folder.run_id}-detector.zip"


def download_detector(folder: RunFolder) -> None:
    """Draw the button that has the bundle of a run written, by a process of its own, and downloads it."""
    files = (path for name in LARGE_FOLDERS for path in (folder.path / name).glob("*"))
    large = sum(path.stat().st_size for path in files) > MOST_DETECTOR_BYTES
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
