"""What a grid is said to cost: against a run counted by hand, and against what a run really keeps."""

from __future__ import annotations

from typing import Any

import pytest

from panda_core.bench.costs import Passes, checkpoints_kept, costs_of, measurements, passes_of
from panda_core.config import RunConfig
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import resolve
from tests.bench.conftest import finish


def test_passes_counted_by_hand() -> None:
    """A forecast that forgets the measurements, the Fisher diagonal or the second view."""
    early = resolve(RunConfig(recipe="panda-early", steps=10, eval_every=4, batch_size=8))
    assert measurements(early) == 4  # steps 0, 4, 8 and 10
    assert passes_of(early, 100, 50) == Passes(150, 4 * 150, 80)
    ewc = resolve(early.replace(recipe="panda-ewc", set={"fisher_images": 20}))
    made = passes_of(ewc, 100, 50)
    assert made is not None and (made.trunk, made.forward, made.training) == (170, 600, 100)
    msc = passes_of(resolve(RunConfig(recipe="msc", steps=10, eval_every=10, batch_size=8)), 100, 50)
    assert msc is not None and (msc.trunk, msc.training) == (150 + 160, 160)
    assert passes_of(resolve(RunConfig(recipe="ocsvm")), 100, 50) is None


@pytest.mark.parametrize(
    ("recipe", "kept"), [("panda-early", 1), ("panda-ewc", 1), ("panda-ses", 4), ("panda-alarm", 2), ("frozen", 1)]
)
def test_checkpoints_that_a_cell_keeps(recipe: str, kept: int) -> None:
    """Disk promised for one checkpoint where the stop rule looks at all of them."""
    steps = {} if recipe == "frozen" else {"steps": 6, "eval_every": 2}
    assert checkpoints_kept(resolve(RunConfig(recipe=recipe, **steps)), RECIPES[recipe]) == kept


def test_finished_cells_tell_how_long_the_others_take(make_plan: Any) -> None:
    """A guess from a clock where a cell like it was computed; time still counted for what is done."""
    plan, folder = make_plan()
    first, second = plan.cells.values()
    run = RunFolder(folder.path / first.id)
    run.path.mkdir(parents=True)
    run.write_config(first.config)
    finish(run)
    costs = costs_of(plan, folder)
    assert costs[first.id].done and costs[first.id].seconds == 1.0
    assert not costs[second.id].done and costs[second.id].seconds == 1.0
    assert "finished cells like it" in costs[second.id].how


def test_a_cell_too_large_for_the_cache_runs_the_trunk_at_every_look(
    make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forecast for a network whose activations fit, of one whose do not."""
    plan, folder = make_plan(classes=["3"])
    (cell,) = plan.cells
    fits = costs_of(plan, folder)[cell].passes
    monkeypatch.setenv("PANDA_CACHE_GB", "0.000001")
    anew = costs_of(plan, folder)[cell].passes
    assert fits is not None and anew is not None
    assert anew == Passes(fits.trunk + fits.forward + fits.training, fits.forward, fits.training)
