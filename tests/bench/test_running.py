"""Grids that are run: side by side, again, with cells that fail, workers that die, and a request to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from panda_core.bench.running import DEATHS, run_grid
from panda_core.bench.worker import a_gpu, compute
from panda_core.bench.workers import workers_of as local_workers
from panda_core.errors import UsageError
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import load_run
from tests.bench.conftest import finish

ROOT = Path(__file__).parents[2]


def counting(calls: list[str], problem: str = "") -> Any:
    """Return a way to compute that notes each cell and finishes it, unless there is a problem."""

    def call(cell_id: str, run: RunFolder) -> str:
        calls.append(cell_id)
        if not problem:
            finish(run)
        return problem

    return call


def test_what_is_finished_is_not_computed_again(make_plan: Any, stub: Any) -> None:
    """A grid that starts from the beginning after an interruption; tables that wait for its end."""
    plan, folder = make_plan(seeds=[0, 1])
    calls: list[str] = []
    stub(counting(calls))
    cells = run_grid(plan, folder)
    next(cells)
    assert json.loads((folder.path / "results.json").read_text())["lines"][0]["finished"] == 1
    cells.close()
    assert folder.state().state == "interrupted" and len(calls) == 1
    ended = list(run_grid(plan, folder))
    assert [item.state for item in ended] == ["finished"] * 4
    assert [item.ended for item in ended] == [1, 2, 3, 4]
    assert sorted(calls) == sorted(plan.cells)
    assert folder.state().state == "finished"


def test_a_failing_cell_is_shown_and_the_others_go_on(make_plan: Any, stub: Any) -> None:
    """A night of computing lost to one cell, or its error to nobody; and one that is never tried again."""
    plan, folder = make_plan(seeds=[0, 1])
    bad = list(plan.cells)[1]

    def call(cell_id: str, run: RunFolder) -> str:
        return "It is broken." if cell_id == bad else counting([])(cell_id, run)

    stub(call)
    ended = {item.cell.id: (item.state, item.reason) for item in run_grid(plan, folder)}
    assert ended.pop(bad) == ("failed", "It is broken.")
    assert set(ended.values()) == {("finished", "")}
    assert "It is broken." in (folder.path / "results.html").read_text()
    assert "1 of 4 cells failed" in folder.state().reason
    calls: list[str] = []
    stub(counting(calls))
    assert {item.state for item in run_grid(plan, folder)} == {"finished"} and calls == [bad]


def test_a_cell_that_kills_its_worker_is_given_up_alone(make_plan: Any, stub: Any) -> None:
    """A grid that never ends because of one cell; or one that gives up innocent cells beside it."""
    plan, folder = make_plan(seeds=[0, 1])
    deadly, calls = list(plan.cells)[1], list[str]()

    def call(cell_id: str, run: RunFolder) -> str:
        calls.append(cell_id)
        if cell_id == deadly:
            run.write_state("running")
            raise EOFError
        finish(run)
        return ""

    stub(call)
    ended = {item.cell.id: item for item in run_grid(plan, folder)}
    assert ended[deadly].state == "failed" and f"died {DEATHS} times" in ended[deadly].reason
    assert calls.count(deadly) == DEATHS
    assert all(calls.count(cell) == 1 for cell in plan.cells if cell != deadly)


def test_a_request_to_stop_reaches_the_cells(make_plan: Any, stub: Any) -> None:
    """A stop that waits for a cell of an hour, or that is forgotten by the next start."""
    plan, folder = make_plan(seeds=[0, 1])

    def call(cell_id: str, run: RunFolder) -> str:
        folder.request_stop()
        for _ in range(600):
            if run.stop_requested():
                run.write_state("stopped", "Stopped on request.")
                return ""
            time.sleep(0.05)
        return "never asked to stop"

    stub(call)
    (item,) = list(run_grid(plan, folder))
    assert item.state == "stopped" and folder.state().state == "stopped"
    stub(counting([]))
    assert len(list(run_grid(plan, folder))) == 4 and not folder.stop_requested()


def test_a_grid_is_computed_once_at_a_time(make_plan: Any, stub: Any) -> None:
    """Two processes that write one table in turn."""
    plan, folder = make_plan()
    stub(counting([]))
    with folder.lock(), pytest.raises(UsageError, match="another process"):
        list(run_grid(plan, folder))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"jobs": 0}, "jobs"),
        ({"backend": "slurm"}, "`dask`"),
        ({"scheduler": "tcp://here:1"}, "--backend dask"),
        ({"backend": "dask"}, "--scheduler"),
    ],
)
def test_wrong_workers_are_one_sentence(wrong: dict[str, Any], word: str, make_plan: Any) -> None:
    """A slip in how to compute that is found after the first hour."""
    plan, folder = make_plan()
    with pytest.raises(UsageError, match=word):
        list(run_grid(plan, folder, **wrong))


def test_a_worker_returns_what_went_wrong(make_plan: Any, tmp_path: Path) -> None:
    """An exception in one worker that ends all of them."""
    plan, folder = make_plan(classes=["3"])
    (cell,) = plan.cells.values()
    run = RunFolder(folder.path / cell.id)
    run.path.mkdir(parents=True)
    run.write_config(cell.config.replace(backbone="nope"))
    run.write_state("queued")
    before = signal.getsignal(signal.SIGINT)
    try:
        assert "nope" in compute(str(run.path), None)
        assert run.state().state == "failed"
        assert "does not exist" in compute(str(tmp_path / "absent"), None)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(600)
def test_a_killed_worker_is_replaced_and_its_cell_goes_on(write_grid: Any, tmp_path: Path) -> None:
    """A real process, killed by the system in the middle of a cell, that takes the grid with it."""
    grid, out = write_grid(classes=["3"], train_limit=12, test_limit=20, steps=12, eval_every=4), tmp_path / "out"
    command = [sys.executable, "-m", "panda_core", "bench", str(grid), "--out", str(out), "--jobs", "1", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    victim, run_id = None, ""
    for _ in range(3000):
        begun = [path for path in out.glob("*/checkpoints/*.safetensors") if path.stem >= "000004"]
        if begun:
            run_id = begun[0].parents[1].name
            victim = next(iter(workers_of(process.pid)))
            os.kill(victim, signal.SIGKILL)
            break
        assert process.poll() is None
        time.sleep(0.05)
    printed, _ = process.communicate(timeout=400)
    assert victim is not None and process.returncode == 0
    (line,) = json.loads(printed)["lines"]
    assert [cell["state"] for cell in line["outcomes"]] == ["finished"]
    steps = [event.step for event in load_run(out / run_id).evaluated]
    assert steps == list(range(0, 13, 4))


def workers_of(pid: int) -> list[int]:
    """Return the processes that compute cells for a grid's process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and "LokyProcess" in (path / "cmdline").read_text():
                found.append(int(path.name))
        except (OSError, ValueError):
            continue  # it has ended
    return found


def test_one_cell_a_gpu(tmp_path: Path) -> None:
    """Eight cells on one GPU, or two on one while another is idle; one that is lost with the worker that had it."""
    with a_gpu(tmp_path, 2) as first, a_gpu(tmp_path, 2) as second:
        assert {first, second} == {0, 1}
        with pytest.raises(Timeout), FileLock(tmp_path / "gpu-0.lock", timeout=0):
            pass
    with pytest.raises(KeyError), a_gpu(tmp_path, 1):
        raise KeyError
    with a_gpu(tmp_path, 1) as again:
        assert again == 0
    with a_gpu(tmp_path, 0) as none:
        assert none is None


def test_as_many_workers_as_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker for each processor of a machine with two GPUs; more asked for than there are, silently."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for device, jobs, gpus in (("cuda", 2, 2), ("auto", 2, 2), ("cuda:1", 1, 0)):
        with workers_at(device) as workers:
            assert (workers.jobs, workers.gpus) == (jobs, gpus)
    with workers_at("cpu") as workers:
        assert workers.gpus == 0
    with pytest.raises(UsageError, match="at most 2, one cell for each GPU; got 3"), workers_at("cuda", 3):
        pass


def workers_at(device: str, jobs: int | None = None) -> Any:
    return local_workers("loky", None, jobs, 50, device)
