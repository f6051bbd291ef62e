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
from panda_core.config import TILES_OFF
from panda_core.errors import PandaError, UsageError
from panda_core.runs import launch as launching
from panda_core.runs.corrected import in_force
from panda_core.runs.folder import RunFolder

LARGE_FOLDERS = ("checkpoints", "galleries", "banks")  # folders of a run that make up most of a bundle
MOST_DETECTOR_BYTES = 400_000_000  # the server holds a download in memory
LOOK_EVERY = 0.5  # seconds
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
    return not is_recorded(folder) and folder.keeps_detector()


@dataclasses.dataclass(frozen=True)
class Form:
    """A kind of file that a detector is taken away as.

    name: on the buttons. ending, mime: of the file. about: the term that explains it.
    """

    name: str
    ending: str
    mime: str
    about: str


FORMS = {  # by kind of `launching.EXPORTS`
    "bundle": Form("detector", "zip", "application/zip", "detector"),
    "onnx": Form("ONNX file", "onnx", "application/octet-stream", "detector_onnx"),
}


def file_name(folder: RunFolder, kind: str = "bundle") -> str:
    """Return what the file is called when it is downloaded."""
    return f"{folder.run_id}-detector.{FORMS[kind].ending}"


@dataclasses.dataclass(frozen=True)
class Writing:
    """A file that a process writes for one session.

    folder: where; it vanishes with the session. file: in it.
    ended: done once the process has ended, with its `PandaError` if there is no file.
    """

    folder: tempfile.TemporaryDirectory[str]
    file: Path
    ended: Future[None]


def download_detector(folder: RunFolder) -> None:
    """Draw for each kind of file the button that has it written, by a process of its own, and then the one to download.

    Of a run that was corrected, the detector learned with its corrections is written, as `export` does it.
    Two buttons, because a browser says nothing while a file is made after a click, nor why there is none: beside a run
    that computes, that is half a minute.
    """
    try:
        in_force(folder)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")
        return
    for kind in _kinds(folder):
        pending = _pending(folder, kind)
        with st.container(width="content"):
            st.fragment(_detector, run_every=LOOK_EVERY if pending else None)(folder, kind, pending)


def _kinds(folder: RunFolder) -> list[str]:
    """Return the kinds of files that a detector can be taken away as: one that cuts photos into tiles is no graph."""
    return [kind for kind in FORMS if kind != "onnx" or folder.config().tiles == TILES_OFF]


def _detector(folder: RunFolder, kind: str, looks_again: bool) -> None:
    form, pending = FORMS[kind], _pending(folder, kind)
    learned = in_force(folder)
    name = form.name if learned.path == folder.path else f"corrected {form.name}"
    if pending != looks_again:
        st.rerun()  # the whole page, which then looks again, or no longer does
    key = "detector" if kind == "bundle" else f"detector-{kind}"
    if pending:
        st.button(f"Starting: writes the {name}", icon="spinner", key=key, disabled=True, help=tip(form.about))
        return
    writing: Writing | None = st.session_state.get(_key(folder, kind))
    problem = None if writing is None else writing.ended.exception()
    if writing is not None and problem is None:
        st.download_button(
            f"Download {name}",
            data=writing.file.read_bytes,
            file_name=file_name(folder, kind),
            mime=form.mime,
            icon=":material/download:",
            on_click="ignore",
            key=f"{key}-file",
            help=tip(form.about),
        )
        return
    if problem is not None:
        st.error(wording.sentence(f"There is no {name}. {problem}"), icon=":material/error:")
    files = (path for part in LARGE_FOLDERS for path in (learned.path / part).glob("*"))
    large = sum(path.stat().st_size for path in files) > MOST_DETECTOR_BYTES
    if st.button(
        f"Write {name}",
        icon=":material/deployed_code:",
        disabled=large,
        key=key,
        help=tip("detector_too_large" if large else form.about),
    ):
        target = tempfile.TemporaryDirectory(prefix="panda-detector-")
        file = Path(target.name) / launching.EXPORTS[kind][0]
        st.session_state[_key(folder, kind)] = Writing(
            target, file, _writers().submit(launching.export, folder, file, kind)
        )
        st.rerun()


def _pending(folder: RunFolder, kind: str) -> bool:
    """Return whether a file of a run is being written for this session."""
    writing: Writing | None = st.session_state.get(_key(folder, kind))
    return writing is not None and not writing.ended.done()


def _key(folder: RunFolder, kind: str) -> str:
    return f"{kind}-of-{in_force(folder).run_id}"  # a correction since asks for another file


@st.cache_resource(show_spinner=False)
def _writers() -> ThreadPoolExecutor:
    """Return the threads that wait for processes which write detectors."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="detector")


def show_use(folder: RunFolder, *, maps: bool) -> None:
    """Draw the detector's files and what to do with them."""
    st.subheader("Use the detector elsewhere")
    as_graph = "onnx" in _kinds(folder)
    graph_told = "The ONNX file is for runs that look at whole photos: a graph takes one picture of one size."
    if as_graph:
        graph_told = (
            "**The ONNX file**: one graph from pixels to the score"
            + (" and the map" if maps else "")
            + ", for machines without this program. Each is checked against this run before you get it."
        )
    st.markdown(
        "**The detector**: one file with the adapted weights or the bank of normal patches, and the threshold. "
        f"Safetensors and JSON, each with its hash, no code and none of your images.  \n{graph_told}"
    )
    with st.container(horizontal=True):
        download_detector(folder)
    name = file_name(folder)
    terminal, python, *graph = st.tabs(["In a terminal", "In Python", *["With ONNX Runtime"] * as_graph])
    more = " --maps maps.zip" if maps else ""
    terminal.code(
        f"python -m panda_core score {name} FOLDER --csv{more} > verdicts.csv", language="bash", wrap_lines=True
    )
    python.code(_PYTHON.format(name=name, more=_MAPS if maps else ""), language="python", wrap_lines=True)
    for tab in graph:
        tab.code(_GRAPH.format(name=file_name(folder, "onnx")), language="bash", wrap_lines=True)
        tab.caption("The script comes with this program and needs `onnxruntime`, `numpy` and `pillow` alone.")


_PYTHON = """from panda_core import load_bundle

detector = load_bundle("{name}")
detector.anomaly_scores(["new.jpg"])  # higher = more anomalous
detector.predict(["new.jpg"], false_alarm_rate=0.05)  # 1 anomalous, 0 normal{more}
"""
_GRAPH = "python assets/examples/score_with_onnx.py {name} new.jpg"
_MAPS = '\ndetector.anomaly_maps(["new.jpg"])  # (1, H, W)'
