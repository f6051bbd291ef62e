"""Starting a grid in a process of its own. Needs no torch: the web app imports this."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import panda_core
from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import built_in_grids
from panda_core.errors import UsageError, unknown_name

_children: list[subprocess.Popen[bytes]] = []  # kept until they end, so that they can be reaped


def start_grid(name: str, *, runs_dir: str, data_root: str) -> GridFolder:
    """Return the folder of the built-in grid called `name`, which a new process computes or goes on with.

    The process outlives its parent. What it says goes into `output.log` of the folder. A grid that is being computed
    already raises `UsageError`.
    """
    if name not in built_in_grids():
        raise unknown_name("grid", name, built_in_grids(), "bench")
    folder = GridFolder.below(Path(runs_dir).absolute(), name)
    if folder.path.exists() and folder.is_locked():
        raise UsageError(f"Grid `{name}` is being computed already. Wait, or stop it.")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.clear_stop_request()
    folder.write_state("queued")
    with open(folder.path / "output.log", "ab") as log:
        _spawn(["bench", name, "--runs-dir", str(Path(runs_dir).absolute()), "--data-root", data_root, "--json"], log)
    return folder


def _spawn(arguments: list[str], log: BinaryIO) -> None:
    _children[:] = [child for child in _children if child.poll() is None]
    root = Path(panda_core.__file__).parents[1]
    process = subprocess.Popen(  # noqa: S603  a fixed command, no shell
        [sys.executable, "-m", "panda_core", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
    )
    _children.append(process)
