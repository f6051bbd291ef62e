"""Starting runs in processes of their own. Needs no torch: the web app imports this."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import panda_core
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.records import cannot_write, read_arrays, read_json, write_json
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import resolve
from panda_core.threads import thread_settings

# Processes of this one, kept until they end so that they can be reaped. The last is told apart: it has imported
# everything a run needs and waits for one, which saves seconds between a click and the first point.
_children: list[subprocess.Popen[str]] = []
_waiting: subprocess.Popen[str] | None = None
_checks: dict[str, subprocess.Popen[str]] = {}  # by the name of the check's folder
_comparing: dict[str, subprocess.Popen[str]] = {}  # by the id of the run, the one used longest ago first
_lock, _comparing_lock = threading.Lock(), threading.Lock()
# In the folder of a check: where the references of a new class lie, how far it is, and what came of it.
REFERENCES, PROGRESS, RESULT = "references.json", "progress.json", "result.json"
MOST_COMPARING = 2  # processes that keep a detector open: each takes half a gigabyte
COMPARED_WITHIN = 60.0  # seconds; the first image waits until the detector is open


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a detector says of one image.

    score: higher = more anomalous.
    grid: (g, g) of its map; empty without maps.
    """

    score: float
    grid: np.ndarray


def start(config: RunConfig) -> RunFolder:
    """Return the folder of a new run that waits for its turn in a process of its own.

    The process outlives its parent: a web server can be restarted, the run goes on. Errors in the config raise.
    """
    folder = RunFolder.create(resolve(config))
    continue_run(folder)
    return folder


def continue_run(folder: RunFolder) -> None:
    """Have a process compute `folder` from its last checkpoint on, when its turn comes."""
    folder.clear_stop_request()
    folder.write_state("queued")
    _hand_over("run", folder.path)


def check(folder: RunFolder, images: Path, references: Path | None = None) -> Path:
    """Have a process look at the image files in folder `images` with a finished run.

    references: a folder of normal images of a new class, for a run that generalises; else the run's own are used.
    Return the folder in which it writes `result.json`: see `panda_core.worker.check`.
    """
    out = folder.checks(secrets.token_hex(16))
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    if references is not None:
        write_json(out / REFERENCES, {"folder": str(references.resolve())})
    _checks[out.name] = _hand_over("check", folder.path, images, out)
    return out


def end_check(out: Path) -> None:
    """End the process of a check that still computes, so that it writes nothing any more."""
    process = _checks.pop(out.name, None)
    if process is not None:
        _end(process)


def compare(folder: RunFolder, image: np.ndarray) -> Compared:
    """Return what the detector of a finished run says of one image (H, W, 3), uint8.

    A process of its own keeps the detector open for the next image, and ends after a while without one. `PandaError`
    says why there is no answer.
    """
    with tempfile.TemporaryDirectory(prefix="panda-compare-") as place:
        picture, answer = Path(place) / "image.npy", Path(place) / "answer.npz"
        np.save(picture, image, allow_pickle=False)
        process = _asked(folder, [str(picture), str(answer)])
        began = time.monotonic()
        while not answer.is_file():
            if process.poll() is not None or time.monotonic() - began > COMPARED_WITHIN:
                end_comparing(folder)
                raise PandaError(
                    f"The process that compares images ended, or took over {COMPARED_WITHIN:g} s. Try once more."
                )
            time.sleep(0.01)
        arrays = read_arrays(answer)
    if str(arrays["error"]):
        raise PandaError(str(arrays["error"]))
    return Compared(float(arrays["score"]), arrays["grid"])


def open_detector(folder: RunFolder) -> None:
    """Have a process open the detector of a finished run, so that the first image to compare need not wait."""
    _asked(folder, None)


def end_comparing(folder: RunFolder) -> None:
    """End the process that keeps the detector of a run open, if there is one."""
    process = _comparing.pop(folder.run_id, None)
    if process is not None:
        _end(process)


def _asked(folder: RunFolder, question: list[str] | None) -> subprocess.Popen[str]:
    """Return the process that keeps the detector of a run open, once a question, if any, has been written to it."""
    with _comparing_lock:
        process = _comparing.pop(folder.run_id, None)
        if process is None or process.poll() is not None:
            process = _hand_over("compare", folder.path, ends=False)
        _comparing[folder.run_id] = process
        while len(_comparing) > MOST_COMPARING:
            _end(_comparing.pop(next(iter(_comparing))))
        if question is not None and process.stdin is not None:
            with contextlib.suppress(OSError):  # it has just ended: `compare` says so
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
    return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.kill()
    process.wait()


# Kinds of files that a detector can be taken away as -> the name of one, and how many seconds writing may take: an ONNX
# file is traced, written, and compared with the run, once for each step that an image may choose.
EXPORTS = {"bundle": ("detector.zip", 120.0), "onnx": ("detector.onnx", 1800.0)}


def export(folder: RunFolder, out: Path, kind: str, patience: float | None = None) -> None:
    """Have a process write the detector of a finished run to `out`, as one of `EXPORTS`, and wait for it.

    `PandaError` says why there is none: what the process said, or that it ended, or took over `patience` seconds.
    """
    name, usual = EXPORTS[kind]
    longest = usual if patience is None else patience
    by_hand = f"Write it in a terminal: `python -m panda_core export {folder.run_id} {name} --format {kind}`."
    process = _hand_over(kind, folder.path, out)
    try:
        code = process.wait(timeout=longest)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise PandaError(f"Writing `{name}` took over {longest:g} s. {by_hand}") from error
    answer = export_answer(out)
    if not answer.is_file():
        raise PandaError(f"The process that wrote `{name}` ended with code {code}. {by_hand}")
    if reason := read_json(answer)["error"]:
        raise PandaError(str(reason))


def export_answer(out: Path) -> Path:
    """Return the file in which the process that writes a detector to `out` says how that went."""
    return out.with_name(f"{out.name}.json")


def how_check_ended(out: Path) -> str:
    """Return a sentence if the process of a check has ended without a result, else nothing.

    Known only to the server that started it: after a restart, nothing is known of processes from before.
    """
    process = _checks.get(out.name)
    code = None if process is None else process.poll()
    if code is None or (out / RESULT).is_file():  # the file is looked for after the end: it comes before it
        return ""
    why = f"signal {-code}: killed, or out of memory" if code < 0 else f"exit code {code}"
    return f"The process that looked at these images ended without a result ({why}). Check them again."


def _hand_over(job: str, *paths: Path, ends: bool = True) -> subprocess.Popen[str]:
    """Give a job of `panda_core.worker.JOBS` to the process that is ready, else to a new one, and return it.

    ends: whether nothing more is written to it.
    """
    global _waiting
    with _lock:
        process = _waiting if _waiting is not None and _waiting.poll() is None else _spawn()
        _waiting = None
        if process.stdin is not None:
            process.stdin.write(json.dumps([job, *(str(path.resolve()) for path in paths)]) + "\n")
            process.stdin.flush()
            if ends:
                process.stdin.close()
    return process


def keep_ready() -> None:
    """Start a process that is ready for the next run, unless one is. It ends with this process if it gets none."""
    global _waiting
    with _lock:
        if _waiting is None or _waiting.poll() is not None:
            _waiting = _spawn()


def _spawn() -> subprocess.Popen[str]:
    """Return a new process of `panda_core.worker`: it prepares itself and reads from its input what to do."""
    _children[:] = [child for child in _children if child.poll() is None]
    root = Path(panda_core.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "panda_core.worker"],
        cwd=root,
        env={**thread_settings(), "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    _children.append(process)
    return process
