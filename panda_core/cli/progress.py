"""A run's events as a progress bar for people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panda_core.cli.output import percent
from panda_core.events import (
    CacheProgress,
    DataNoted,
    Evaluated,
    Event,
    ImagesSkipped,
    RunFailed,
    RunStarted,
    RunStopped,
    SegmentationEvaluated,
    Stepped,
)

_STAGES = {
    "train": "Reading normal images",
    "test": "Reading test images",
    "seen": "Reading seen classes",
    "seen anomalies": "Reading their anomalies",
    "background": "Reading images of anything",
    "fisher": "Finding the weights that matter",
}


_LEFT_OUT = {  # split -> one, many
    "masks": ("mask is not used", "masks are not used"),
    "folder": ("file takes no part", "files take no part"),
    "copies": ("copy takes no part", "copies take no part"),
}
SHOWN = 10  # of what is left out; the log has all


def _left_out(event: ImagesSkipped) -> Iterator[str]:
    """Yield lines that say how much is left out, what, and why."""
    one, many = _LEFT_OUT.get(event.split, (f"{event.split} image is skipped", f"{event.split} images are skipped"))
    yield f"{event.count} {one if event.count == 1 else many}:"
    for name, reason in zip(event.names[:SHOWN], event.reasons, strict=False):
        yield f"  {name}: {reason}"
    if event.count > SHOWN:
        yield f"  and {event.count - SHOWN} more; `events.jsonl` of the run names all"


def show_progress(events: Iterator[Event]) -> Iterator[Event]:
    """Yield the events of a run while drawing its stages and curve points on the standard error stream.

    Nothing is drawn before the first event: an error that comes first is then the only thing said.
    """
    first = next(events, None)
    if first is None:
        return
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, int] = {}
        steps = 0

        def task(description: str, total: int) -> int:
            if description not in tasks:
                tasks[description] = bar.add_task(description, total=total)
            return tasks[description]

        for event in itertools.chain([first], events):
            if isinstance(event, RunStarted):
                steps = int(event.config["steps"] or 0)
            elif isinstance(event, CacheProgress):
                stage = task(_STAGES.get(event.split, event.split), event.total)
                bar.update(stage, completed=event.done, total=event.total)  # type: ignore[arg-type]
            elif isinstance(event, Stepped):
                bar.update(task("Adapting", max(steps, event.step)), completed=event.step)  # type: ignore[arg-type]
            elif isinstance(event, Evaluated):
                console.print(f"step {event.step}: AUROC {percent(event.auroc)}, {event.alarm}")
            elif isinstance(event, SegmentationEvaluated):
                console.print(f"step {event.step}: image AUROC {percent(event.image_auroc)}")
            elif isinstance(event, ImagesSkipped):
                console.print("\n".join(_left_out(event)), markup=False)
            elif isinstance(event, DataNoted):
                console.print(event.told, markup=False)
            elif isinstance(event, (RunStopped, RunFailed)):
                console.print(event.reason, markup=False)
            yield event
