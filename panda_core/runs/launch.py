"""Starting and stopping runs in processes of their own. Needs no torch: the web app imports this."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import panda_core
from panda_core.config import RunConfig
from panda_core.runs.plan import resolve
from panda_core.runs.store import RunFolder


def start(config: RunConfig) -> RunFolder:
    """Return the folder of a new run that waits for its turn in a process of its own.

    The process outlives its parent: a web server can be restarted, the run goes on. Errors in the config raise.
    """
    folder = RunFolder.create(resolve(config))
    continue_run(folder)
    return folder


def continue_run(folder: RunFolder) -> None:
    """Start a process that computes `folder` from its last checkpoint on, when its turn comes."""
    folder.clear_stop_request()
    folder.write_state("queued")
    root = Path(panda_core.__file__).parents[1]
    with open(folder.path / "output.log", "ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", "panda_core", "resume", str(folder.path.resolve()), "--queue", "--json"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
