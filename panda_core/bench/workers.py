"""Where the cells of a grid are computed: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

from panda_core.bench.worker import compute
from panda_core.errors import UsageError

BACKENDS = ("loky", "dask")
CONNECTS_WITHIN = 20  # seconds
MOST_JOBS = 8  # by default: a cell needs about a gigabyte of memory


@dataclasses.dataclass(frozen=True)
class Workers:
    """Where cells are computed. deaths: what is raised when a worker dies. config: of `joblib.parallel_config`.

    gpus: how many GPUs the cells share, one at a time on each; 0 where they compute on processors, or on one GPU named.
    """

    jobs: int
    threads: int | None
    deaths: tuple[type[BaseException], ...]
    config: dict[str, Any]
    gpus: int = 0

    def compute(self, tasks: Iterator[tuple[str, str]], jobs: int) -> Iterator[tuple[str, str]]:
        """Yield (cell id, problem) as cells end, at most `jobs` at a time; a dead worker raises one of `deaths`."""
        from joblib import Parallel, delayed, parallel_config

        # Two, where one would do, because joblib computes with one in this very process, which must not die.
        with parallel_config(**self.config, n_jobs=max(jobs, 2)):
            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch=jobs)
            yield from parallel(delayed(_one)(cell_id, path, self.threads, self.gpus) for cell_id, path in tasks)


def _one(cell_id: str, path: str, threads: int | None, gpus: int) -> tuple[str, str]:
    return cell_id, compute(path, threads, gpus)


def gpus_of(device: str) -> int:
    """Return how many GPUs cells on `device` share; `cuda:N` names one, which is not chosen here."""
    import torch

    return torch.cuda.device_count() if device in ("auto", "cuda") and torch.cuda.is_available() else 0


def _here(jobs: int | None, cells: int, device: str) -> Workers:
    """Return processes of this machine: one for each GPU where there are some, else for each processor.

    Two cells on one GPU would take twice as long, and the memory of both.
    """
    processors, gpus = os.cpu_count() or 1, gpus_of(device)
    most = gpus or (1 if device.startswith("cuda:") else min(processors, MOST_JOBS))
    if gpus and (jobs or 1) > gpus:
        raise UsageError(f"`jobs` must be at most {gpus}, one cell for each GPU; got {jobs}. Set `--jobs {gpus}`.")
    jobs = jobs or max(1, min(most, cells))
    threads = max(1, processors // jobs)
    return Workers(jobs, threads, (BrokenExecutor,), {"backend": "loky", "inner_max_num_threads": threads}, gpus)


@contextlib.contextmanager
def workers_of(backend: str, scheduler: str | None, jobs: int | None, cells: int, device: str) -> Iterator[Workers]:
    """Give the workers of cells that compute on `device`.

    jobs: how many cells at once, by default one for each GPU, processor, or worker of the cluster.
    """
    if backend == "loky":
        if scheduler is not None:
            raise UsageError("`--scheduler` belongs to `--backend dask`. Leave it out, or set `--backend dask`.")
        yield _here(jobs, cells, device)
        return
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise UsageError(
            "`--backend dask` needs the package distributed. Install it with "
            "`pip install distributed`, or use `--backend loky`."
        ) from error
    if scheduler is None:
        raise UsageError("`--backend dask` needs the address of a cluster. Set `--scheduler tcp://HOST:8786`.")
    try:
        client = Client(scheduler, timeout=CONNECTS_WITHIN, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"There is no Dask scheduler at `{scheduler}` ({error}). Start one, or correct it.") from error
    with client:
        at_once = client.nthreads()
        if not at_once:
            raise UsageError(f"The cluster at `{scheduler}` has no workers. Start `dask worker {scheduler}`.")
        if any(threads != 1 for threads in at_once.values()):
            raise UsageError(
                f"Each worker of the cluster must have one thread, because a cell takes a whole process; got "
                f"{max(at_once.values())}. Start them with `dask worker {scheduler} --nthreads 1`."
            )
        _check_package(client, scheduler)
        yield Workers(
            min(jobs or len(at_once), len(at_once)), None, (KilledWorker,), {"backend": "dask", "client": client}
        )


def _check_package(client: Any, scheduler: str) -> None:
    """Raise `UsageError` unless every process of the cluster has this package: a task would otherwise hang there."""

    def problem() -> str:  # inside a function, so that it is sent as code and not as a name in this package
        import importlib

        try:
            importlib.import_module("panda_core.bench.worker")
        except ImportError as error:
            return str(error)
        return ""

    problems = {"the scheduler": client.run_on_scheduler(problem), **client.run(problem)}
    broken = [f"{process} ({why})" for process, why in problems.items() if why]
    if broken:
        raise UsageError(
            f"panda_core cannot be imported on {len(broken)} of {len(problems)} processes of the cluster at "
            f"`{scheduler}`, the first is {broken[0]}. Install it there, or start them with PYTHONPATH set to its "
            "folder."
        )
