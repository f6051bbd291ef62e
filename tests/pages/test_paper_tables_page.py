"""The Paper tables page: an empty machine, a grid in every state, and what the button starts."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from panda_core.bench import launch
from panda_core.bench.cells import plan_grid
from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import load_grid
from panda_core.bench.summary import Reader
from panda_core.bench.writing import write_results
from panda_core.errors import UsageError
from panda_core.events import RunFinished
from panda_core.records import write_json
from panda_core.runs.arrays import RunSplit

GRID = """
title = "Mine [x](http://x) <b>"
[settings]
image_size = 32
classes = ["3", "8"]
[[rows]]
name = "Early"
published = "table1/panda-ewc"
[[rows]]
name = "Unadapted"
recipe = "frozen"
[[rows]]
name = "Elsewhere"
datasets = ["cifar10"]
"""


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been started; nothing is."""
    commands: list[list[str]] = []
    monkeypatch.setattr(launch, "_spawn", lambda arguments, log: commands.append(arguments))
    return commands


@pytest.fixture
def make_grid(runs_dir: Path, tmp_path: Path) -> Callable[..., GridFolder]:
    """(state, number of finished cells) -> the folder of a grid as its process would leave it."""

    def make(state: str = "finished", done: int = 4, name: str = "mine") -> GridFolder:
        path = tmp_path / f"{name}.toml"
        path.write_text(GRID)
        folder = GridFolder.below(runs_dir, name)
        plan = plan_grid(load_grid(str(path)), runs_dir=folder.path, data_root=str(tmp_path / "no data"))
        folder.write_plan(plan)
        for cell in plan.runnable()[:done]:
            run = folder.run(cell.id)
            run.path.mkdir()
            run.write_config(cell.config)
            split = RunSplit(train=["a/1"], train_rows=[0], test=["a/2"], test_rows=[0], is_anomaly=[0])
            write_json(run.path / "split.json", split.to_json())
            run.append(RunFinished(metrics={"auroc": 0.912345678, "auroc_low": 0.8, "auroc_high": 1.0}, seconds=1.0))
            run.write_state("finished")
        folder.write_state(state, "It went wrong: [x](http://x)." if state == "failed" else "")
        write_results(folder, Reader(folder).results())
        return folder

    return make


def test_an_empty_machine_says_how_to_begin(open_page: Any) -> None:
    """A blank page where nobody has computed a table yet."""
    at = open_page("paper_tables")
    assert at.button(key="start-quick") and "panda_core bench" in at.code[0].value


def test_the_button_starts_the_quick_grid(open_page: Any, spawned: list[list[str]], runs_dir: Path) -> None:
    """A button that starts nothing, computes in the server, shows nothing for 25 seconds, or puts runs elsewhere."""
    at = open_page("paper_tables")
    at.button(key="start-quick").click().run()
    assert not at.exception
    (command,) = spawned
    assert command[:2] == ["bench", "quick"] and command[command.index("--runs-dir") + 1] == str(runs_dir)
    assert GridFolder.below(runs_dir, "quick").state().state == "queued"
    assert [str(bar.proto.text).partition(":")[0] for bar in at.get("progress")] == ["starting"]
    assert at.selectbox(key="grid").value == "quick"
    assert "start-quick" not in [button.key for button in at.button]


def test_a_grid_that_is_computed_is_not_started_twice(runs_dir: Path, spawned: list[list[str]]) -> None:
    """Two processes on two cores that compute the same table."""
    folder = GridFolder.below(runs_dir, "quick")
    with folder.lock(), pytest.raises(UsageError, match="already"):
        launch.start_grid("quick", runs_dir=str(runs_dir), data_root="")
    with pytest.raises(UsageError, match="`quick`"):
        launch.start_grid("../quick", runs_dir=str(runs_dir), data_root="")
    assert not spawned


def test_the_process_is_detached_and_light(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid that ends with the server that started it."""
    calls: list[tuple[list[str], dict[str, Any]]] = []
    stand_in = SimpleNamespace(poll=lambda: 0)
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **named: calls.append((command, named)) or stand_in)
    launch.start_grid("quick", runs_dir=str(runs_dir), data_root="/data")
    ((command, named),) = calls
    assert command[:4] == [sys.executable, "-m", "panda_core", "bench"]
    assert named["start_new_session"] and isinstance(named["stderr"], io.BufferedWriter)


def test_a_finished_table_is_shown(open_page: Any, make_grid: Any) -> None:
    """Measured, published and difference in the wrong columns; runs that cannot be opened; files that are missing."""
    folder = make_grid()
    at = open_page("paper_tables")
    frame = at.dataframe[0].value.set_index("Method")
    assert frame["Measured"]["Early"] == "91.2" and frame["Published"]["Early"] == "–"
    assert "efficientnet_lite0 at 32 px" in frame["Measured how"]["Early"]
    assert "CIFAR-10" in frame["Measured how"]["Elsewhere"]
    assert any("CIFAR-10" in warning.value for warning in at.warning)
    assert at.subheader[0].value.startswith("Mine \\[x\\]")
    assert len(at.get("download_button")) == 4
    assert len(at.get("plotly_chart")) == 1
    shown = at.selectbox(key="grid-run")
    assert len(shown.options) == 4
    from pages.shared.runs.choice import find_run

    found = find_run(shown.value)
    assert found is not None and found.path.parent == folder.path


def test_a_computing_table_shows_how_far_it_is(open_page: Any, make_grid: Any) -> None:
    """A table that looks finished while half of it is missing; a stop that reaches nobody."""
    folder = make_grid("running", done=1)
    with folder.lock():
        at = open_page("paper_tables")
        assert any("1 of 4 runs done" in str(bar.proto.text) for bar in at.get("progress"))
        assert at.dataframe[0].value["Runs"][0] == "1 of 2"
        at.button(key="stop-grid").click().run()
        assert not at.exception and folder.stop_requested()


@pytest.mark.parametrize("state", ["queued", "running", "stopped", "failed", "interrupted"])
def test_every_state(state: str, open_page: Any, make_grid: Any) -> None:
    """A state that the page does not know, or a grid that cannot be gone on with."""
    make_grid(state, done=2, name="quick")
    at = open_page("paper_tables")
    assert len(at.dataframe) >= 1
    if state != "queued":
        assert at.button(key="start-quick").label == "Go on with the quick table"


@pytest.mark.parametrize("file", ["grid.json", "results.json", "state.json"])
@pytest.mark.parametrize("content", ["", "[]", '{"lines": 3}'])
def test_a_damaged_folder_is_a_sentence(file: str, content: str, open_page: Any, make_grid: Any) -> None:
    """One bad file that takes the page with it."""
    folder = make_grid()
    (folder.path / file).write_text(content)
    at = open_page("paper_tables")
    assert at.error or at.warning


def test_any_grid_of_the_address(open_page: Any, make_grid: Any) -> None:
    """A link to one table that opens another; junk in the address that ends in an error."""
    make_grid(name="aa")
    make_grid(name="zz")
    assert open_page("paper_tables", grid="zz").selectbox(key="grid").value == "zz"
    assert open_page("paper_tables", grid="../../etc").selectbox(key="grid").value == "aa"


def test_controls_explain_themselves(open_page: Any, make_grid: Any) -> None:
    """A control, a chart or a table without its text."""
    make_grid()
    at = open_page("paper_tables")
    assert all(at.get(kind) for kind in ("button", "selectbox", "plotly_chart", "dataframe"))
    for kind in ("button", "selectbox"):
        assert all(widget.help for widget in at.get(kind))
    assert all(len(chart.proto.alt) > 20 for chart in at.get("plotly_chart"))
    assert all(frame.proto.alt for frame in at.get("dataframe"))


def test_the_page_never_imports_torch() -> None:
    """Seconds of import, and a gigabyte, in the process that serves pages."""
    import subprocess

    code = "import sys, pages.shared.paper_tables.page; sys.exit('torch' in sys.modules or 'joblib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_an_empty_machine_shows_what_papers_report(open_page: Any) -> None:
    """A page of tables without a figure, or with a figure that no paper reports."""
    (frame,) = [table.value for table in open_page("paper_tables").dataframe]
    line = frame[(frame["Method"] == "DeepSVDD") & frame["Source"].str.startswith("PANDA, Table 1;")]
    assert line.iloc[0]["CIFAR-10"] == "64.8"
    assert len(frame) > 5


def test_own_runs_stand_beside_what_papers_report(open_page: Any, make_run: Any, make_grid: Any) -> None:
    """A table of published figures that stays empty of one's own."""
    make_run(normal_class="3", recipe="panda-ewc")
    make_run(normal_class="8", recipe="panda-ewc")
    make_run("stopped", normal_class="9", recipe="panda-ewc")
    for grid in (False, True):
        if grid:
            make_grid()
        shown = open_page("paper_tables").dataframe[-1].value
        assert list(shown.columns[:2]) == [
            "Method",
            "Handwritten digits",
        ]  # what one has measured is seen first
        (own,) = [line for line in shown.to_dict("records") if line["Source"] == "your runs"]
        assert own["Method"] == "PANDA, elastic weights (EWC)" and own["Handwritten digits"] == "71.2 (2 of 10)"
        (published,) = [line for line in shown.to_dict("records") if line["Method"] == "PANDA (EWC)"][:1]
        assert published["CIFAR-10"] == "96.2" and published["Handwritten digits"] == "–"


def test_of_several_runs_of_a_class_the_newest_counts(make_run: Any) -> None:
    """A mean over runs that somebody tried before, with settings that were bad."""
    from pages.shared.paper_tables.reported import measured

    old, new = make_run(), make_run("running")
    new.append(RunFinished(metrics={"auroc": 0.95}, seconds=1.0))
    ((cells),) = measured([new, old]).values()
    assert cells == {"digits": "95.0 (1 of 10)"}
