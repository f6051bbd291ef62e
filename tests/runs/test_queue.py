"""Runs in processes of their own: one after the other, in the order of starting, equal to runs anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig, UsageError, load_run
from panda_core.events import RunFinished, RunStarted
from panda_core.runs import folder as store
from panda_core.runs import run as queue
from panda_core.runs.folder import RunFolder
from panda_core.runs.launch import start
from panda_core.runs.run import runs_ahead, slots, wait_for_turn

Tiny = Callable[..., RunConfig]


def folder_called(config: RunConfig, name: str) -> RunFolder:
    made = RunFolder.create(config)
    return RunFolder(made.path.rename(made.path.with_name(name)))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for another process, at most a minute."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("nothing happened within a minute")


def spans(folder: RunFolder) -> tuple[float, float]:
    events = [event for event, _ in folder.events()]
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunFinished)
    return events[0].time, events[-1].time


def test_two_processes_compute_one_after_the_other(tiny: Tiny, forked: Callable[..., Any]) -> None:
    """Two runs that share two cores, or the later one first, by its recipe; both wait for a third that is running."""
    config = tiny(steps=20)
    running = folder_called(config, "03-running")
    # As two rivals of a race, whose ids hold the same second, and then the recipe.
    first, second = folder_called(config, "02-first"), folder_called(config, "01-second")
    started = []
    with running.lock():
        running.write_state("running")
        for folder in (second, first):
            started.append(forked("resume", str(folder.path), "--queue", "--json"))
            wait_until(folder.is_locked)
        time.sleep(3 * queue.POLL)
        assert first.state().state == second.state().state == "queued"
        assert runs_ahead(first) == 1 and runs_ahead(second) == 2
        running.write_state("finished")
    for process, lines in started:
        assert list(lines)[-1]["event"] == "RunFinished"
        process.join(20)
    assert first.state().state == second.state().state == "finished"
    assert spans(first)[1] <= spans(second)[0]


def test_two_may_compute_at_once_where_the_operator_allows_it(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting without effect."""
    monkeypatch.setenv("PANDA_MAX_RUNS", "2")
    running, waiting = folder_called(tiny(), "00"), folder_called(tiny(), "01")
    with running.lock(), waiting.lock():
        running.write_state("running")
        assert wait_for_turn(waiting, lambda: False)
        assert waiting.state().state == "running"


def test_a_dead_run_does_not_hold_up_the_others(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that waits for a process which was killed."""
    for number, state in enumerate(("running", "queued", "failed", "stopped")):
        folder_called(tiny(), f"0{number}").write_state(state)
    now = time.time() + 2 * store.STARTS_WITHIN
    monkeypatch.setattr(time, "time", lambda: now)
    mine = folder_called(tiny(), "09")
    with mine.lock():
        assert wait_for_turn(mine, lambda: False)


def test_waiting_can_be_stopped(tiny: Tiny) -> None:
    """A queued run that can only be stopped once it runs."""
    running, waiting = folder_called(tiny(), "00"), folder_called(tiny(), "01")
    with running.lock(), waiting.lock():
        running.write_state("running")
        asked = iter([False, False, True])
        assert not wait_for_turn(waiting, lambda: next(asked))
        assert waiting.state().state == "queued"


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "65", "²"])
def test_a_bad_number_of_slots_is_one_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A traceback, or no run at all, because of a misspelt setting."""
    monkeypatch.setenv("PANDA_MAX_RUNS", text)
    with pytest.raises(UsageError, match=r"`PANDA_MAX_RUNS` must be a whole number in \[1, 64\].*Set it to 1"):
        slots()
    monkeypatch.setenv("PANDA_MAX_RUNS", "")
    assert slots() == 1


def test_a_started_process_computes_the_same_run(
    digits_run: Path, contents: Callable[[RunFolder], dict[str, Any]], tmp_path: Path
) -> None:
    """A run of the app that differs from the same run in Python: another process, equal bit for bit."""
    folder = start(load_run(digits_run).config.replace(runs_dir=str(tmp_path / "runs")))
    wait_until(lambda: folder.state().state not in ("queued", "running"))
    output = (folder.path / "output.log").read_text()
    assert folder.state().state == "finished", output
    assert "Traceback" not in output
    ours, theirs = contents(RunFolder(digits_run)), contents(folder)
    for found in (ours, theirs):
        found.pop("environment.json")  # it names the number of threads and the like
    assert theirs == ours


def test_two_threads_round_differently_and_no_more(digits_run: Path, panda: Callable[..., Any], tmp_path: Path) -> None:
    """A result that depends on how many cores a machine has; and the command line against Python."""
    config = load_run(digits_run).config.replace(runs_dir=str(tmp_path / "runs"))
    done = panda("run", "--json", *config.to_flags(), env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs").iterdir()
    expected, found = (load_run(run).final().scores for run in (digits_run, path))
    np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert len(done.stdout.splitlines()) == len((path / "events.jsonl").read_text().splitlines())
