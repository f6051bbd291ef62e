"""A grid on a real Dask cluster of two workers on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import distributed
import pytest

from panda_core.bench.running import run_grid
from panda_core.bench.workers import _check_package
from panda_core.errors import UsageError


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two processes of one thread each."""
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    with distributed.LocalCluster(n_workers=2, silence_logs=50, **options) as made:
        yield made.scheduler_address


@pytest.mark.timeout(600)
def test_a_grid_on_a_cluster(cluster: str, make_plan: Any) -> None:
    """Cells that no worker can compute, that all go to one worker, or whose results never come back."""
    plan, folder = make_plan(train_limit=12, test_limit=20, steps=1)
    ended = list(run_grid(plan, folder, backend="dask", scheduler=cluster))
    assert [(item.state, item.reason) for item in ended] == [("finished", "")] * 2
    results = json.loads((folder.path / "results.json").read_text())
    assert results["lines"][0]["finished"] == 2 and 0.4 < results["lines"][0]["mean"] <= 1


def test_a_cluster_that_is_not_there(make_plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong address that ends in a traceback, or in waiting for ever."""
    monkeypatch.setattr("panda_core.bench.workers.CONNECTS_WITHIN", 1)
    plan, folder = make_plan()
    with pytest.raises(UsageError, match="no Dask scheduler"):
        list(run_grid(plan, folder, backend="dask", scheduler="tcp://127.0.0.1:9"))


def test_workers_with_several_threads_are_refused(make_plan: Any) -> None:
    """Two cells in one process, which share the threads and the random numbers of torch."""
    plan, folder = make_plan()
    options = {"processes": False, "threads_per_worker": 2, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(n_workers=1, silence_logs=50, **options) as made,
        pytest.raises(UsageError, match="--nthreads 1"),
    ):
        list(run_grid(plan, folder, backend="dask", scheduler=made.scheduler.address))


def test_a_cluster_without_this_program_is_refused() -> None:
    """Cells sent to processes that cannot import the package, where they hang instead of failing."""

    class Client:
        def run_on_scheduler(self, asked: Callable[[], str]) -> str:
            return asked()

        def run(self, asked: Callable[[], str]) -> dict[str, str]:
            return {"tcp://worker:1": "No module named 'panda_core'"}

    with pytest.raises(UsageError, match=r"1 of 2 processes .* tcp://worker:1 .* Install it there"):
        _check_package(Client(), "tcp://here:1")
