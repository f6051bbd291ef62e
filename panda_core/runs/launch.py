"""Starting runs in processes of their own. Needs no torch: the web app imports this."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import panda_core
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.records import cannot_write, read_json, write_json
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import resolve

# Processes of this one, kept until they end so that they can be reaped. The last is told apart: it has imported
# everything a run needs and waits for one, which saves seconds between a click and the first point.
_children: list[subprocess.Popen[str]] = []
_waiting: subprocess.Popen[str] | None = None
_checks: dict[str, subprocess.Popen[str]] = {}  # by the name of the check's folder
_lock = threading.Lock()
# In the folder of a check: where the references of a new class lie, how far it is, and what came of it.
REFERENCES, PROGRESS, RESULT = "references.json", "progress.json", "result.json"


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


def bundle(folder: RunFolder, out: Path, patience: float = 120.0) -> None:
    """Have a process write the bundle of a finished run to `out`, a .zip, and wait for it.

    `PandaError` says why there is none: what the process said, or that it ended, or took over `patience` seconds.
    """
    process = _hand_over("bundle", folder.path, out)
    try:
        code = process.wait(timeout=patience)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise PandaError(f"The bundle took over {patience:g} s. {_by_hand(folder)}") from error
    answer = bundle_answer(out)
    if not answer.is_file():
        raise PandaError(f"The process that wrote the bundle ended with code {code}. {_by_hand(folder)}")
    if reason := read_json(answer)["error"]:
        raise PandaError(str(reason))


def bundle_answer(out: Path) -> Path:
    """Return the file in which the process that writes a bundle to `out` says how that went."""
    return out.with_name(f"{out.name}.json")


def _by_hand(folder: RunFolder) -> str:
    return f"Write it in a terminal: `python -m panda_core export {folder.run_id} detector.zip --format bundle`."


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


def _hand_over(job: str, *paths: Path) -> subprocess.Popen[str]:
    """Give a job of `panda_core.worker.JOBS` to the process that is ready, else to a new one, and return it."""
    global _waiting
    with _lock:
        process = _waiting if _waiting is not None and _waiting.poll() is None else _spawn()
        _waiting = None
        if process.stdin is not None:
            with process.stdin as jobs:
                jobs.write(json.dumps([job, *(str(path.resolve()) for path in paths)]) + "\n")
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
        env={**waiting_threads_sleep(), "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    _children.append(process)
    return process


def waiting_threads_sleep() -> dict[str, str]:
    """Return the environment of a process in which idle threads of torch sleep; torch reads it when it is imported.

    By default a thread that waits for another spins on its core. With a browser or a second run on the same two cores,
    the one it waits for then gets no time: steps were seen to take two to five times longer.
    """
    return {"OMP_WAIT_POLICY": "passive", **os.environ}
