"""Computing a run into its folder: files first, then the line that refers to them. One at a time; others wait.

The loops yield what happens and what is to be saved; only here is it written down, and only here is a run stopped: at
any item that a loop yields. Importing this loads no torch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator

from filelock import FileLock, Timeout

from panda_core.config import RunConfig
from panda_core.datasets import OneClassTask
from panda_core.datasets.file_health import notes_of
from panda_core.errors import PandaError, UsageError
from panda_core.events import (
    MASKS,
    CheckpointSaved,
    DataNoted,
    Event,
    ImagesSkipped,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
)
from panda_core.records import cannot_write
from panda_core.runs.data import check_unchanged
from panda_core.runs.folder import MOMENTUM, RunFolder, list_runs
from panda_core.runs.kinds import Computation, kind_of, prepare
from panda_core.runs.settings import Plan, check_others, check_weights

POLL = 0.25  # seconds between looks at the queue


def run(
    config: RunConfig, *, task: OneClassTask | None = None, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Yield the events of a new run, each after it and its files are in the run folder.

    A generator: nothing is computed until it is iterated; closing it stops the run. `task` replaces the dataset.
    Errors in the config raise before a folder is made; an error later yields `RunFailed`, then raises.
    should_stop: asked between batches; once true, the last event is `RunStopped`.
    """
    plan = prepare(config, task)
    folder = RunFolder.create(plan.config)
    with folder.lock():
        yield from _record(plan, folder, should_stop)


def resume(
    folder: RunFolder, *, should_stop: Callable[[], bool] = lambda: False, queued: bool = False
) -> Iterator[Event]:
    """Yield the events of a run that was created, stopped, interrupted or failed, from its last checkpoint on.

    queued: whether it first waits until no other run of its folder computes. should_stop: as in `run`.
    """
    try:
        lock = folder.lock().acquire()
    except Timeout as error:
        raise UsageError(f"Run `{folder.run_id}` is being computed by another process. Wait, or stop it.") from error
    except OSError as error:  # a folder that may only be read
        raise cannot_write(folder.path / "lock", error) from error
    with lock:
        if folder.state().state == "finished":
            raise UsageError(f"Run `{folder.run_id}` is finished; there is nothing to resume.")
        if queued and not wait_for_turn(folder, lambda: should_stop() or folder.stop_requested()):
            yield _stop(folder, "Stopped on request while waiting in the queue.")
            return
        try:
            plan = prepare(folder.config())
            check_unchanged(folder.run_id, folder.split(), plan.task)
            check_weights(folder, plan.network)
            check_others(folder, plan)
        except PandaError as error:
            yield from _fail(folder, error)
            raise
        yield from _record(plan, folder, should_stop)


def _record(plan: Plan, folder: RunFolder, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Compute into `folder`, from its last checkpoint if it has one that can be gone on from."""
    kind = kind_of(plan.config)
    try:
        folder.write_state("running")
        folder.write_config(plan.config)
        resumed = kind.resumed(folder, plan)
        if resumed is None:
            folder.log_file.unlink(missing_ok=True)
            started = RunStarted(run_id=folder.run_id, config=plan.config.to_json())
            folder.append(started)
            yield started
            for event in _seen(plan):
                folder.append(event)
                yield event
        checkpoint = None if resumed is None else resumed.step
        yield from _drive(kind.compute(plan, resumed), plan, folder, should_stop, checkpoint)
    except GeneratorExit:
        stopped = RunStopped(reason="Stopped: nobody asked for further events.")
        folder.append(stopped)
        folder.write_state("stopped", stopped.reason)
        raise
    except PandaError as error:
        yield from _fail(folder, error)
        raise
    except Exception as error:
        failure = PandaError(f"{type(error).__name__}: {error}. This is a fault of the program; please report it.")
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            failure = PandaError("The memory is full. Use a smaller `--batch-size`, `--image-size` or `--train-limit`.")
        yield from _fail(folder, failure)
        raise failure from error


def _seen(plan: Plan) -> Iterator[Event]:
    """Yield what is to be said of the data and the weights before anything is computed."""
    task = plan.task
    for split, left_out in (("folder", task.left_out), (MASKS, task.loose_masks)):
        if left_out:
            names, reasons = map(list, zip(*left_out, strict=True))
            yield ImagesSkipped(split=split, count=len(names), names=names, reasons=reasons)
    for told in (*notes_of(task), *filter(None, [plan.network.note])):
        yield DataNoted(told=told)


def _drive(
    computation: Computation,
    plan: Plan,
    folder: RunFolder,
    should_stop: Callable[[], bool],
    checkpoint: int | None,
) -> Iterator[Event]:
    """Write down what a loop yields, and yield its events; between any two items it may be stopped.

    checkpoint: the step from which it goes on, or None.
    """
    with contextlib.closing(computation):
        while not (should_stop() or folder.stop_requested()):
            try:
                item = next(computation)
            except StopIteration:
                return
            if isinstance(item, Event):
                folder.append(item)
                _after(folder, item)
                yield item
                if isinstance(item, RunFinished):
                    return
                checkpoint = item.step if isinstance(item, CheckpointSaved) else checkpoint
            elif item is not None:
                item.save(folder, plan)
    where = "before the first checkpoint" if checkpoint is None else f"after the checkpoint of step {checkpoint}"
    yield _stop(folder, f"Stopped on request, {where}.")


def _stop(folder: RunFolder, reason: str) -> RunStopped:
    """Write down that a run was stopped, and return the event."""
    stopped = RunStopped(reason=reason)
    folder.append(stopped)
    folder.write_state("stopped", reason)
    folder.clear_stop_request()  # it is fulfilled; one that comes before the run is resumed counts again
    return stopped


def _fail(folder: RunFolder, error: PandaError) -> Iterator[Event]:
    """Write the failure down as far as the disk lets us, and yield it."""
    failed = RunFailed(reason=str(error))
    try:
        folder.append(failed)
        folder.write_state("failed", failed.reason)
    except PandaError:
        pass  # the disk is full or read-only: `error`, which the caller raises, says so
    yield failed


def _after(folder: RunFolder, event: Event) -> None:
    """Do what follows a line: set the final state, drop what only an earlier checkpoint needed."""
    if isinstance(event, RunFinished):
        folder.write_state("finished")
        shutil.rmtree(folder.path / MOMENTUM, ignore_errors=True)
    elif isinstance(event, CheckpointSaved):
        folder.keep_only(MOMENTUM, (event.step,))


class stop_on_signal:
    """A context in which SIGINT and SIGTERM ask the run to stop, instead of killing it."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Callable[[], bool]:
        def ask(*_: object) -> None:
            self.asked = True

        self.before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return lambda: self.asked

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


# The queue: runs of one folder compute in the order in which they were started or resumed, which ids cannot tell: they
# hold when a run was made. It works across processes, without a server.


def slots() -> int:
    """Return how many runs may compute at once: `$PANDA_MAX_RUNS`, 1 by default."""
    text = os.environ.get("PANDA_MAX_RUNS") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise UsageError(f"`PANDA_MAX_RUNS` must be a whole number in [1, 64]; got `{text}`. Set it to 1.")
    return int(text)


def runs_ahead(folder: RunFolder) -> int:
    """Return how many runs in the same folder compute now or came before `folder` and still wait."""
    mine = folder.state().since, folder.run_id
    ahead = 0
    for other in list_runs(folder.path.parent):
        if other.run_id != folder.run_id:
            state = other.state()
            ahead += state.state == "running" or (state.state == "queued" and (state.since, other.run_id) < mine)
    return ahead


def wait_for_turn(folder: RunFolder, should_stop: Callable[[], bool]) -> bool:
    """Wait until `folder` may compute, and mark it running; return False if stopped before that."""
    allowed = slots()
    if folder.written_state() != "queued":  # one that was told to wait has its place: since when it says so
        folder.write_state("queued")
    while not should_stop():
        with FileLock(folder.path.parent / ".queue.lock"):  # between looking and marking, nobody else may look
            if runs_ahead(folder) < allowed:
                folder.write_state("running")
                return True
        time.sleep(POLL)
    return False
