"""One cell, computed in whatever process it is sent to. Nothing but a path goes there, and a sentence comes back."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

from panda_core.errors import PandaError, UsageError
from panda_core.runs.folder import RunFolder

WAIT = 1.0  # seconds between looks at a run that another process computes


def compute(path: str, threads: int | None) -> str:
    """Compute the run folder at `path` to its end, from its last checkpoint on; return "", or what went wrong.

    threads: of torch, so that processes side by side do not take more than the machine has; None leaves it alone.
    Whatever goes wrong is returned, not raised: one cell must not end the others.
    """
    with contextlib.suppress(ValueError):  # raised outside of a main thread, where no signal arrives
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the grid stops its cells itself
    try:
        _compute(RunFolder(Path(path)), threads)
    except Exception as error:
        return str(error) if isinstance(error, PandaError) else f"{type(error).__name__}: {error}"
    return ""


def _compute(folder: RunFolder, threads: int | None) -> None:
    import torch

    from panda_core.runs.run import resume

    if threads is not None:
        torch.set_num_threads(threads)
    while folder.written_state() != "finished":
        try:
            for _ in resume(folder):
                pass
            return
        except UsageError:
            # A process that was left over from a grid whose own process was killed may still be at it.
            if not folder.is_locked():
                raise
            time.sleep(WAIT)
