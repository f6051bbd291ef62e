"""Running a grid: its cells side by side, through joblib, in processes of this machine or on a Dask cluster.

A worker that dies, for lack of memory or any other reason, loses the cells that were being computed: each goes on
from its last checkpoint, and one whose worker has died `DEATHS` times is given up. Its last try it has for itself, so
that no cell is given up because of another one beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from filelock import Timeout

from panda_core.bench.cells import Cell, Plan, check_runnable
from panda_core.bench.folder import GridFolder
from panda_core.bench.summary import Reader
from panda_core.bench.workers import BACKENDS, Workers, workers_of
from panda_core.bench.writing import write_results
from panda_core.errors import PandaError, UsageError, unknown_name
from panda_core.records import cannot_write
from panda_core.runs.folder import RunFolder

DEATHS = 3
LOOK_EVERY = 0.3  # seconds between looks for a request to stop


@dataclasses.dataclass(frozen=True)
class CellEnded:
    """A cell has come to an end: state is that of its run folder. ended of total cells have."""

    cell: Cell
    state: str
    reason: str
    ended: int
    total: int


def run_grid(
    plan: Plan,
    folder: GridFolder,
    *,
    jobs: int | None = None,
    backend: str = "loky",
    scheduler: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[CellEnded]:
    """Yield each cell as it ends, after the tables in `folder` have been written anew.

    Cells that are finished already come first; `UsageError` where none can be run. With backend "dask", `scheduler` is
    the address of a cluster whose workers see the same files. A failed cell is not tried again; the next run of the
    grid does so.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS, "--backend")
    check_runnable(plan)
    cells = plan.runnable()
    if jobs is not None and not 1 <= jobs <= 1024:
        raise UsageError(f"`jobs` must be in [1, 1024]; got {jobs}. Set `--jobs 2`.")
    try:
        lock = folder.lock().acquire()
    except Timeout as error:
        raise UsageError(f"Grid `{folder.name}` is being computed by another process. Wait, or stop it.") from error
    with lock, workers_of(backend, scheduler, jobs, len(cells), cells[0].config.device) as workers:
        yield from _run(plan, folder, cells, workers, should_stop)


def _run(
    plan: Plan, folder: GridFolder, cells: list[Cell], workers: Workers, should_stop: Callable[[], bool]
) -> Iterator[CellEnded]:
    folder.clear_stop_request()
    folder.write_plan(plan)
    folder.write_state("running")
    reader, ended = Reader(folder), set[str]()
    outcome, reason = "interrupted", "Nobody asked for further cells."
    try:
        for cell in cells:
            if folder.run(cell.id).written_state() == "finished":
                ended.add(cell.id)
                yield CellEnded(cell, "finished", "", len(ended), len(cells))
        write_results(folder, reader.results())
        with _Stop(folder, should_stop) as stop:
            for cell, state, why in _attempts(folder, [cell for cell in cells if cell.id not in ended], workers, stop):
                ended.add(cell.id)
                write_results(folder, reader.results())
                yield CellEnded(cell, state, why, len(ended), len(cells))
        failed = sum(folder.run(cell.id).written_state() == "failed" for cell in cells)
        outcome, reason = "finished", f"{failed} of {len(cells)} cells failed." if failed else ""
        if stop.asked:
            outcome, reason = "stopped", "Stopped on request. Start it again: what is finished is kept."
    except PandaError as error:
        outcome, reason = "failed", str(error)
        raise
    finally:
        folder.clear_stop_request()
        folder.write_state(outcome, reason)


def _attempts(
    folder: GridFolder, waiting: list[Cell], workers: Workers, stop: _Stop
) -> Iterator[tuple[Cell, str, str]]:
    """Yield (cell, state, reason) of each cell that has ended; a cell whose worker died is computed again."""
    deaths: Counter[str] = Counter()
    while waiting and not stop.asked:
        together = [cell for cell in waiting if deaths[cell.id] < DEATHS - 1]
        batch, jobs = (together, workers.jobs) if together else (waiting[:1], 1)
        left = {cell.id: cell for cell in batch}
        try:
            for cell_id, problem in workers.compute(_handed_out(folder, batch, stop), jobs):
                cell = left.pop(cell_id)
                stop.begun.discard(cell_id)
                yield cell, *_ended(folder.run(cell_id), problem)
        except workers.deaths:
            for cell in [cell for cell in batch if cell.id in stop.begun and cell.id in left]:
                run = folder.run(cell.id)
                stop.begun.discard(cell.id)
                if run.written_state() == "finished":  # it died on the way back
                    del left[cell.id]
                    yield cell, "finished", ""
                elif run.written_state() == "running":
                    deaths[cell.id] += 1
                    if deaths[cell.id] >= DEATHS:
                        del left[cell.id]
                        why = f"The process that computed it died {DEATHS} times. Is there enough memory for it?"
                        run.write_state("failed", why)
                        yield cell, "failed", why
        computed = {cell.id for cell in batch} - set(left)
        waiting = [cell for cell in waiting if cell.id not in computed]


def _handed_out(folder: GridFolder, batch: Sequence[Cell], stop: _Stop) -> Iterator[tuple[str, str]]:
    """Yield (cell id, path) of cells as workers become free; each has its run folder by then."""
    for cell in batch:
        if stop.asked:
            return
        run = folder.run(cell.id)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(run.path, error) from error
        if not run.is_run():
            run.write_config(cell.config)
        run.clear_stop_request()
        run.write_state("queued")
        stop.begun.add(cell.id)
        yield cell.id, str(run.path.resolve())


def _ended(run: RunFolder, problem: str) -> tuple[str, str]:
    """Return state and reason of a cell whose worker has answered; a problem that it could not note is noted here."""
    state = run.state()
    if problem and state.state not in ("failed", "finished"):
        run.write_state("failed", problem)
        return "failed", problem
    return state.state, state.reason


class _Stop:
    """A context in which a request to stop the grid reaches the cells that are being computed.

    The main thread waits for workers meanwhile, so that another one has to look.
    """

    def __init__(self, folder: GridFolder, should_stop: Callable[[], bool]) -> None:
        self.folder, self.should_stop = folder, should_stop
        self.asked = False
        self.begun: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Stop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self.asked = self.asked or self.should_stop() or self.folder.stop_requested()
            if self.asked:
                for cell_id in tuple(self.begun):
                    with contextlib.suppress(PandaError):  # asked again at the next look
                        self.folder.run(cell_id).request_stop()
