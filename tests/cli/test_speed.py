"""What the bar of `score` tells while images are scored."""

from __future__ import annotations

from rich.progress import Progress

from panda_core.cli.scoring import _Speed


def test_the_speed_of_scoring_is_that_since_the_start() -> None:
    """Seventy thousand images a second: those of a batch, which come all at once after seconds of computing."""
    now = [0.0]
    bar = Progress(get_time=lambda: now[0])
    task = bar.add_task("Scoring", total=18)
    assert _Speed().render(bar.tasks[0]).plain == ""
    now[0] = 2.0
    for _ in range(18):
        bar.advance(task)
    assert _Speed().render(bar.tasks[0]).plain == "9/s"
