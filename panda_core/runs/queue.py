"""One computing run at a time: others wait in order of their ids. Works across processes, without a server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from filelock import FileLock

from panda_core.errors import UsageError
from panda_core.runs.folder import RunFolder, list_runs

POLL = 0.25  # seconds between looks at the queue


def slots() -> int:
    """Return how many runs may compute at once: `$PANDA_MAX_RUNS`, 1 by default."""
    text = os.environ.get("PANDA_MAX_RUNS") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise UsageError(f"`PANDA_MAX_RUNS` must be a whole number in [1, 64]; got `{text}`. Set it to 1.")
    return int(text)


def runs_ahead(folder: RunFolder) -> int:
    """Return how many runs in the same folder compute now or came before `folder` and still wait."""
    ahead = 0
    for other in list_runs(folder.path.parent):
        if other.run_id != folder.run_id:
            state = other.state().state
            ahead += state == "running" or (state == "queued" and other.run_id < folder.run_id)
    return ahead


def wait_for_turn(folder: RunFolder, should_stop: Callable[[], bool]) -> bool:
    """Wait until `folder` may compute, and mark it running; return False if stopped before that."""
    allowed = slots()
    folder.write_state("queued")
    while not should_stop():
        with FileLock(folder.path.parent / ".queue.lock"):  # between looking and marking, nobody else may look
            if runs_ahead(folder) < allowed:
                folder.write_state("running")
                return True
        time.sleep(POLL)
    return False
