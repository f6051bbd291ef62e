"""Starting runs in processes of their own. Needs no torch: the web app imports this."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import panda_core
from panda_core.config import RunConfig
from panda_core.runs.plan import resolve
from panda_core.runs.store import RunFolder

# Processes of this one, kept until they end so that they can be reaped. The last is told apart: it has imported
# everything a run needs and waits for one, which saves seconds between a click and the first point.
_children: list[subprocess.Popen[str]] = []
_waiting: subprocess.Popen[str] | None = None
_lock = threading.Lock()


def start(config: RunConfig) -> RunFolder:
    """Return the folder of a new run that waits for its turn in a process of its own.

    The process outlives its parent: a web server can be restarted, the run goes on. Errors in the config raise.
    """
    folder = RunFolder.create(resolve(config))
    continue_run(folder)
    return folder


def continue_run(folder: RunFolder) -> None:
    """Have a process compute `folder` from its last checkpoint on, when its turn comes."""
    global _waiting
    folder.clear_stop_request()
    folder.write_state("queued")
    with _lock:
        process = _waiting if _waiting is not None and _waiting.poll() is None else _spawn()
        _waiting = None
        if process.stdin is not None:
            with process.stdin as told:
                told.write(f"{folder.path.resolve()}\n")


def check(folder: RunFolder, images: Path) -> Path:
    """Have a process look at the image files in folder `images` with a finished segmentation run.

    Return the folder in which it writes `maps.npz` and then `result.json`: see `panda_core.cli.checking`.
    """
    out = folder.path / "checks" / secrets.token_hex(8)
    out.mkdir(parents=True)
    with _lock:
        _spawn("checking", str(folder.path.resolve()), str(images.resolve()), str(out.resolve()))
    return out


def keep_ready() -> None:
    """Start a process that is ready for the next run, unless one is. It ends with this process if it gets none."""
    global _waiting
    with _lock:
        if _waiting is None or _waiting.poll() is not None:
            _waiting = _spawn()


def _spawn(module: str = "waiting", *arguments: str) -> subprocess.Popen[str]:
    """Return a new process of a module of `panda_core.cli`.

    `waiting` prepares itself and then computes the run whose path it reads from its input.
    """
    _children[:] = [child for child in _children if child.poll() is None]
    root = Path(panda_core.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-m", f"panda_core.cli.{module}", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    _children.append(process)
    return process
