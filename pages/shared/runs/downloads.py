"""What can be taken away of a run: its folder as one zip file, and its detector, with how that is used elsewhere."""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import is_recorded
from panda_core.errors import UsageError
from panda_core.runs import launch as launching
from panda_core.runs.folder import RunFolder

LARGE_FOLDERS = ("checkpoints", "galleries", "banks")  # folders of a run that make up most of a bundle
MOST_DETECTOR_BYTES = 400_000_000  # the server holds a download in memory
LOOK_EVERY = 0.5  # seconds
DETECTOR = "detector.zip"
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
    return not is_recorded(folder) and any((folder.path / name).is_dir() for name in ("banks", "checkpoints"))


def file_name(folder: RunFolder) -> str:
    """Return what the file is called when it is downloaded."""
    return f"{folder.run_id}-detector.zip"


@dataclasses.dataclass(frozen=True)
class Writing:
    """A bundle that a process writes for one session.

    folder: where; it vanishes with the session.
    ended: done once the process has ended, with its `PandaError` if there is no bundle.
    """

    folder: tempfile.TemporaryDirectory[str]
    ended: Future[None]

    @property
    def file(self) -> Path:
        return Path(self.folder.name) / DETECTOR


def download_detector(folder: RunFolder) -> None:
    """Draw the button that has the bundle of a run written, by a process of its own, and then the one to download it.

    Two buttons, because a browser says nothing while a file is made after a click, nor why there is none: beside a run
    that computes, that is half a minute.
    """
    pending = _pending(folder)
    st.fragment(_detector, run_every=LOOK_EVERY if pending else None)(folder, pending)


def _detector(folder: RunFolder, looks_again: bool) -> None:
    pending = _pending(folder)
    if pending != looks_again:
        st.rerun()  # the whole page, which then looks again, or no longer does
    if pending:
        st.button("Starting: writes the detector", icon="spinner", key="detector", disabled=True, help=tip("detector"))
        return
    writing: Writing | None = st.session_state.get(_key(folder))
    problem = None if writing is None else writing.ended.exception()
    if writing is not None and problem is None:
        st.download_button(
            "Download detector",
            data=writing.file.read_bytes,
            file_name=file_name(folder),
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="detector-file",
            help=tip("detector"),
        )
        return
    if problem is not None:
        st.error(wording.sentence(f"There is no detector. {problem}"), icon=":material/error:")
    files = (path for name in LARGE_FOLDERS for path in (folder.path / name).glob("*"))
    large = sum(path.stat().st_size for path in files) > MOST_DETECTOR_BYTES
    if st.button(
        "Write detector",
        icon=":material/deployed_code:",
        disabled=large,
        key="detector",
        help=tip("detector_too_large" if large else "detector"),
    ):
        target = tempfile.TemporaryDirectory(prefix="panda-detector-")
        ended = _writers().submit(launching.bundle, folder, Path(target.name) / DETECTOR)
        st.session_state[_key(folder)] = Writing(target, ended)
        st.rerun()


def _pending(folder: RunFolder) -> bool:
    """Return whether the bundle of a run is being written for this session."""
    writing: Writing | None = st.session_state.get(_key(folder))
    return writing is not None and not writing.ended.done()


def _key(folder: RunFolder) -> str:
    return f"detector-of-{folder.run_id}"


@st.cache_resource(show_spinner=False)
def _writers() -> ThreadPoolExecutor:
    """Return the threads that wait for processes which write bundles."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="detector")


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
