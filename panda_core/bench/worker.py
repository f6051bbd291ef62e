"""One cell, computed in whatever process it is sent to. Nothing but a path goes there, and a sentence comes back."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from panda_core.errors import PandaError, UsageError
from panda_core.events import CheckpointSaved, RunFinished
from panda_core.runs.folder import RunFolder

WAIT = 1.0  # seconds between looks at a run that another process computes


@contextlib.contextmanager
def a_gpu(folder: Path, gpus: int) -> Iterator[int | None]:
    """Give the number of a GPU on which no other cell of the grid in `folder` computes meanwhile; None without any.

    gpus: how many there are. Where all are taken, it waits; one whose worker has died is free.
    """
    locks = [FileLock(folder / f"gpu-{number}.lock", timeout=0) for number in range(gpus)]
    while locks:
        for number, lock in enumerate(locks):
            with contextlib.suppress(Timeout), lock:
                yield number
                return
        time.sleep(WAIT)
    yield None


def compute(path: str, threads: int | None, gpus: int = 0) -> str:
    """Compute the run folder at `path` to its end, from its last checkpoint on; return "", or what went wrong.

    threads: of torch, so that processes side by side do not take more than the machine has; None leaves it alone.
    gpus: how many there are, of which it takes one for itself; 0 leaves the choice to the run.
    Whatever goes wrong is returned, not raised: one cell must not end the others.
    """
    with contextlib.suppress(ValueError):  # raised outside of a main thread, where no signal arrives
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the grid stops its cells itself
    try:
        with a_gpu(Path(path).parent, gpus) as gpu:
            _compute(RunFolder(Path(path)), threads, gpu)
    except Exception as error:
        return str(error) if isinstance(error, PandaError) else f"{type(error).__name__}: {error}"
    return ""


def _compute(folder: RunFolder, threads: int | None, gpu: int | None) -> None:
    import torch

    from panda_core.runs.adapt.checkpoints import drop_unneeded
    from panda_core.runs.run import resume

    if threads is not None:
        torch.set_num_threads(threads)
    if gpu is not None:
        torch.cuda.set_device(gpu)  # the one that `cuda` means from here on
    while folder.written_state() != "finished":
        try:
            for event in resume(folder):
                if isinstance(event, (CheckpointSaved, RunFinished)):
                    drop_unneeded(folder)
            return
        except UsageError:
            # A process that was left over from a grid whose own process was killed may still be at it.
            if not folder.is_locked():
                raise
            time.sleep(WAIT)
