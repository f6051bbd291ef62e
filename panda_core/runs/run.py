"""Running a plan into its folder: arrays and checkpoint first, then the line that refers to them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterator

from filelock import Timeout

from panda_core.config import RunConfig
from panda_core.datasets import OneClassTask
from panda_core.errors import PandaError, UsageError
from panda_core.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    ImagesSkipped,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
)
from panda_core.few_shot.table import is_generalisation
from panda_core.records import cannot_write, read_lines, write_atomically
from panda_core.runs.adapt.evaluate import Measured
from panda_core.runs.adapt.loop import Resumed, adapt
from panda_core.runs.data import check_unchanged
from panda_core.runs.few_shot.data import GeneralPlan
from panda_core.runs.few_shot.loop import generalise, prepare_generalisation
from panda_core.runs.folder import RunFolder
from panda_core.runs.plan import Plan, SegmentPlan, prepare, prepare_segmentation
from panda_core.runs.saving import Saved, environment, momentum_file, save
from panda_core.runs.segment.loop import segment
from panda_core.runs.segment.settings import is_segmentation
from panda_core.runs.tensors import read_head, read_momentum, read_space, read_tail


def run(
    config: RunConfig, *, task: OneClassTask | None = None, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Yield the events of a new run, each after it and its files are in the run folder.

    A generator: nothing is computed until it is iterated; closing it stops the run. `task` replaces the dataset.
    Errors in the config raise before a folder is made; an error later yields `RunFailed`, then raises.
    """
    plan = _prepared(config, task)
    folder = RunFolder.create(plan.config)
    with folder.lock():
        yield from _record(plan, folder, should_stop)


def resume(
    folder: RunFolder, *, should_stop: Callable[[], bool] = lambda: False, wait: Callable[[], bool] = lambda: True
) -> Iterator[Event]:
    """Yield the events of a run that was created, stopped, interrupted or failed, from its last checkpoint on.

    wait: called with the lock held before anything is computed; false means "stopped while waiting".
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
        if not wait():
            event = RunStopped(reason="Stopped on request while waiting in the queue.")
            folder.append(event)
            _after(folder, event)
            yield event
            return
        try:
            plan = _prepared(folder.config())
            check_unchanged(folder.run_id, folder.read("split.json") or {}, plan.task)
        except PandaError as error:
            yield from _fail(folder, error)
            raise
        yield from _record(plan, folder, should_stop)


def _prepared(config: RunConfig, task: OneClassTask | None = None) -> Plan | SegmentPlan:
    if is_generalisation(config):
        return prepare_generalisation(config, task)
    return prepare_segmentation(config, task) if is_segmentation(config) else prepare(config, task)


def _record(plan: Plan | SegmentPlan, folder: RunFolder, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Compute into `folder`, from its last checkpoint if it has one; a segmentation has none and starts anew."""

    try:
        folder.write_state("running")
        folder.write_config(plan.config)
        resumed = None if isinstance(plan, SegmentPlan) else _last_checkpoint(folder, plan)
        if resumed is None:
            (folder.path / "events.jsonl").unlink(missing_ok=True)
            started = RunStarted(run_id=folder.run_id, config=plan.config.to_json())
            folder.append(started)
            yield started
            if plan.task.left_out:
                names, reasons = map(list, zip(*plan.task.left_out, strict=True))
                unread = ImagesSkipped(split="folder", count=len(names), names=names, reasons=reasons)
                folder.append(unread)
                yield unread
        items = (
            generalise(plan)
            if isinstance(plan, GeneralPlan)
            else segment(plan)
            if isinstance(plan, SegmentPlan)
            else adapt(plan, resumed)
        )
        yield from _drive(items, plan, folder, should_stop, resumed)
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


def _drive(
    items: Generator[Event | Saved | None, None, None],
    plan: Plan | SegmentPlan,
    folder: RunFolder,
    should_stop: Callable[[], bool],
    resumed: Resumed | None,
) -> Iterator[Event]:
    """Write down what a loop yields, and yield its events. At every item it may be stopped, and only here."""
    last: int | None = None if resumed is None else resumed.step
    with contextlib.closing(items):
        while not (should_stop() or folder.stop_requested()):
            try:
                item = next(items)
            except StopIteration:
                return
            if isinstance(item, Event):
                folder.append(item)
                _after(folder, item)
                yield item
                if isinstance(item, CheckpointSaved):
                    last = item.step
                elif isinstance(item, RunFinished):
                    return
            elif item is not None:
                save(plan, folder, item)
    where = "before the first checkpoint" if last is None else f"after the checkpoint of step {last}"
    event = RunStopped(reason=f"Stopped on request, {where}.")
    folder.append(event)
    _after(folder, event)
    yield event


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
    if isinstance(event, RunStopped):
        folder.write_state("stopped", event.reason)
        folder.clear_stop_request()  # it is fulfilled; one that comes before the run is resumed counts again
    elif isinstance(event, RunFinished):
        folder.write_state("finished")
        shutil.rmtree(folder.path / "momentum", ignore_errors=True)
    elif isinstance(event, CheckpointSaved):
        for path in (folder.path / "momentum").glob("*.safetensors"):
            if path.stem != f"{event.step:06d}":
                path.unlink(missing_ok=True)


def _last_checkpoint(folder: RunFolder, plan: Plan) -> Resumed | None:
    """Return where to go on, and cut the log after that point; None if there is no such point."""
    log = folder.path / "events.jsonl"
    records = list(read_lines(log))
    evaluated: list[Evaluated] = []
    kept, keep_evaluated, last_step = 0, 0, -1
    for place, (record, _) in enumerate(records):
        event = Event.from_json(record)
        if isinstance(event, Evaluated):
            evaluated.append(event)
        elif isinstance(event, CheckpointSaved) and momentum_file(folder, event.step).exists():
            kept, keep_evaluated, last_step = place + 1, len(evaluated), event.step
    if last_step < 0:
        return None
    evaluated = evaluated[:keep_evaluated]
    name = f"{last_step:06d}"
    resumed = Resumed(
        step=last_step,
        images_seen=evaluated[-1].images_seen,
        tail=read_tail(folder.path / "checkpoints" / f"{name}.safetensors", plan.network),
        head=read_head(folder.path / "checkpoints" / f"{name}.safetensors"),
        momentum=read_momentum(momentum_file(folder, last_step)),
        space=read_space(folder.path / "space.safetensors", plan.network, str(plan.config.feature_norm)),
        history=[Measured(folder.arrays(event.step), event) for event in evaluated],
        seconds=evaluated[-1].time - float(records[0][0].get("time", evaluated[-1].time)),
    )
    content = log.read_bytes()[: records[kept - 1][1]]
    write_atomically(log, lambda file: file.write(content))
    return resumed


__all__ = ["environment", "resume", "run"]
