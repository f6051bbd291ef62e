"""Stopped, killed or crashed anywhere, and resumed: the same run as one that was never interrupted, bit for bit."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from panda_core import PandaError, RunConfig, UsageError, run
from panda_core.events import CheckpointSaved, Evaluated, Event, RunFailed, RunFinished, RunStopped, Stepped
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.run import resume

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]
Contents = Callable[[RunFolder], dict[str, Any]]

RECIPE = {"recipe": "panda-ses", "feature_norm": "whiten"}


class Killed(BaseException):
    """Stands for the end of the process: nothing in the package may catch it."""


@pytest.fixture
def whole(tiny: Tiny, finish: Finish, contents: Contents, tmp_path: Path) -> dict[str, Any]:
    """Return what an uninterrupted run leaves. It also fills the cache, as every run but the first finds it."""
    return contents(finish(tiny(**RECIPE, runs_dir=str(tmp_path / "whole")))[0])


def only_run(config: RunConfig) -> RunFolder:
    (folder,) = list_runs(config.runs_dir)
    return folder


@pytest.mark.parametrize(
    ("event", "step"),
    [
        ("RunStarted", None),
        ("CacheProgress", None),
        ("Evaluated", 0),
        ("CheckpointSaved", 0),
        ("Stepped", 3),
        ("Evaluated", 4),
        ("CheckpointSaved", 4),
        ("CheckpointSaved", 6),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    tiny: Tiny, whole: dict[str, Any], contents: Contents, forked: Callable[..., Any], event: str, step: int | None
) -> None:
    """A real process, killed with SIGKILL at about the given line: work lost, done twice, or done otherwise."""
    config = tiny(**RECIPE)
    process, lines = forked("run", "--json", *config.to_flags())
    for line in lines:
        if line["event"] == event and line.get("step") == step:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    folder = only_run(config)
    if folder.state().state != "finished":  # the last kills may come too late
        assert process.exitcode == -signal.SIGKILL
        assert folder.state().state == "interrupted"
        assert isinstance(list(resume(folder))[-1], RunFinished)
    assert contents(folder) == whole


def crash_at(patch: pytest.MonkeyPatch, call: str, number: int) -> list[int]:
    """Let the process "die" at the `number`-th call of `os.<call>`; return a list of one: how many were made."""
    original: Callable[..., Any] = getattr(os, call)
    made = [0]

    def dying(*arguments: Any) -> Any:
        made[0] += 1
        if made[0] == number:
            if call == "fsync":  # only a part of what was written has reached the disk: a line may be torn
                os.ftruncate(arguments[0], max(0, os.fstat(arguments[0]).st_size - 9))
            else:
                original(*arguments)  # the file is in place, the line that refers to it is not
            raise Killed
        return original(*arguments)

    patch.setattr(os, call, dying)
    return made


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("phase", range(6))
def test_crashing_at_any_write_loses_nothing(
    tiny: Tiny,
    whole: dict[str, Any],
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    call: str,
    phase: int,
) -> None:
    """A moment between two writes at which a crash breaks the folder. Every sixth write of a run in each phase; all
    six phases together are every write there is."""
    with monkeypatch.context() as patch:
        made = crash_at(patch, call, -1)
        list(run(tiny(**RECIPE, runs_dir=str(tmp_path / "counted"))))
    assert made[0] > 20
    for number in range(1 + phase, made[0] + 1, 6):
        config = tiny(**RECIPE, runs_dir=str(tmp_path / f"crash {number}"))
        with monkeypatch.context() as patch, pytest.raises(Killed):
            crash_at(patch, call, number)
            list(run(config))
        runs = list_runs(config.runs_dir)
        if not runs:  # it died before there was a config: there is nothing to resume, and nothing to be misread
            continue
        list(runs[0].events())  # can be read
        if runs[0].state().state != "finished":
            assert isinstance(list(resume(runs[0]))[-1], RunFinished), number
        assert contents(runs[0]) == whole, number


@pytest.mark.parametrize("number", [3, 11, 17, 29, 38])
def test_a_full_disk_is_said_and_the_run_goes_on_later(
    tiny: Tiny, whole: dict[str, Any], contents: Contents, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A traceback, a folder that cannot be read, or a run that has to start again once there is space."""
    config, original, made, events = tiny(**RECIPE), os.fsync, [0], []

    def full(file: int) -> None:
        made[0] += 1
        if made[0] >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(file)

    with monkeypatch.context() as patch, pytest.raises(PandaError, match=r"Cannot write .*No space left"):
        patch.setattr(os, "fsync", full)
        for event in run(config):
            events.append(event)
    folder = only_run(config)
    assert not events or (isinstance(events[-1], RunFailed) and "No space left" in events[-1].reason)
    # Not even the failure could be written. For a few seconds a new run counts as one whose process is starting.
    assert folder.state().state in ("interrupted", "queued")
    assert isinstance(list(resume(folder))[-1], RunFinished)
    assert contents(folder) == whole


def stop_after(kind: type[Event], step: int) -> tuple[Callable[[], bool], Callable[[Event], None]]:
    """Return (should_stop, watch): the first turns true once the second has seen the event."""
    seen: list[bool] = []

    def watch(event: Event) -> None:
        if isinstance(event, kind) and getattr(event, "step", step) == step:
            seen.append(True)

    return lambda: bool(seen), watch


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_stop_is_honoured_within_one_batch_and_resumed(
    tiny: Tiny, whole: dict[str, Any], contents: Contents, step: int
) -> None:
    """A stop that waits for the next evaluation; a resumed run that differs from one that was never stopped."""
    should_stop, watch = stop_after(Stepped, step)
    events = []
    for event in run(tiny(**RECIPE), should_stop=should_stop):
        events.append(event)
        watch(event)
    assert isinstance(events[-1], RunStopped) and "on request" in events[-1].reason
    assert max(event.step for event in events if isinstance(event, Stepped)) == step
    folder = only_run(tiny(**RECIPE))
    assert (folder.state().state, folder.state().reason) == ("stopped", events[-1].reason)
    again = list(resume(folder))
    assert isinstance(again[-1], RunFinished)
    assert min(event.step for event in again if isinstance(event, Evaluated)) == step + step % 2
    assert contents(folder) == whole


def test_stopped_twice_and_closed_once(tiny: Tiny, whole: dict[str, Any], contents: Contents) -> None:
    """A second resume that starts from the wrong step; a consumer that goes away."""
    config = tiny(**RECIPE)
    events = run(config)
    while not (isinstance(event := next(events), Stepped) and event.step == 1):
        pass
    events.close()  # type: ignore[attr-defined]
    folder = only_run(config)
    assert folder.state().state == "stopped" and "nobody asked" in folder.state().reason
    for kind, step in ((Stepped, 3), (CheckpointSaved, 4)):
        should_stop, watch = stop_after(kind, step)
        for event in resume(folder, should_stop=should_stop):
            watch(event)
        assert folder.state().state == "stopped"
    assert isinstance(list(resume(folder))[-1], RunFinished)
    assert contents(folder) == whole


def test_stopped_before_the_first_evaluation(tiny: Tiny, whole: dict[str, Any], contents: Contents) -> None:
    """A run without a checkpoint that cannot be resumed, or whose log begins twice."""
    config = tiny(**RECIPE, data_root="")
    events = list(run(config, should_stop=lambda: True))
    folder = only_run(config)
    assert isinstance(events[-1], RunStopped) and not any(isinstance(event, Stepped) for event in events)
    list(resume(folder))
    found = contents(folder)
    assert [event["event"] for event in found["events"]] == [event["event"] for event in whole["events"]]
    assert found["arrays/final.npz/scores"] == whole["arrays/final.npz/scores"]


@pytest.mark.parametrize("command", ["run", "resume"])
def test_a_stop_request_reaches_another_process(tiny: Tiny, forked: Callable[..., Any], command: str) -> None:
    """A stop button that needs the process it stops: a file in the folder is enough, however the run was started."""
    config = tiny(steps=100_000, eval_every=50_000)
    if command == "run":
        process, lines = forked("run", "--json", *config.to_flags())
    else:
        process, lines = forked("resume", "--json", str(RunFolder.create(config).path))
    for line in lines:
        if line["event"] == "Stepped":
            folder = only_run(config)
            folder.request_stop()
            break
    assert [line["event"] for line in lines][-1] == "RunStopped"
    process.join(20)
    assert process.exitcode == 1 and folder.state().state == "stopped"


def test_a_stop_before_the_process_has_started_counts(tiny: Tiny) -> None:
    """A click on stop in the seconds in which a process starts, which that process then wipes away; or one that stops
    the run for ever."""
    folder = RunFolder.create(tiny())
    folder.request_stop()
    events = list(resume(folder))
    assert isinstance(events[-1], RunStopped) and not any(isinstance(event, Stepped) for event in events)
    assert isinstance(list(resume(folder))[-1], RunFinished)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_in_order(tiny: Tiny, forked: Callable[..., Any], number: int) -> None:
    """Ctrl-C, or a server that shuts down, in the middle of a write."""
    config = tiny(steps=100_000, eval_every=50_000)
    process, lines = forked("run", "--json", *config.to_flags())
    for line in lines:
        if line["event"] == "Stepped":
            os.kill(process.pid, number)
            break
    assert [line["event"] for line in lines][-1] == "RunStopped"
    process.join(20)
    assert process.exitcode == 1 and only_run(config).state().state == "stopped"


def test_what_cannot_be_resumed_says_why(tiny: Tiny, finish: Finish) -> None:
    """A finished run computed again, or two processes in one folder."""
    folder, _ = finish(tiny())
    with pytest.raises(UsageError, match="finished; there is nothing to resume"):
        list(resume(folder))
    folder.write_state("stopped")
    with folder.lock(), pytest.raises(UsageError, match="being computed by another process"):
        list(resume(folder))


def test_a_torn_log_can_still_be_appended_to(tiny: Tiny, whole: dict[str, Any], contents: Contents) -> None:
    """A run that is stopped in the queue, after a crash had torn its last line, and can never be read again."""
    config = tiny(**RECIPE)
    should_stop, watch = stop_after(Stepped, 3)
    for event in run(config, should_stop=should_stop):
        watch(event)
    folder = only_run(config)
    with open(folder.path / "events.jsonl", "ab") as file:
        file.write(b'{"event": "Eval')
    assert isinstance(list(resume(folder, queued=True, should_stop=lambda: True))[-1], RunStopped)
    assert [item for item, _ in folder.events()]
    list(resume(folder))
    assert contents(folder) == whole
