"""`bench` on the command line: what it prints, where it writes, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from panda_core.bench.grid import built_in_grids
from panda_core.cli import main
from panda_core.runs.folder import RunFolder
from tests.bench.conftest import finish, make_plan, stub, write_grid

__all__ = ["make_plan", "stub", "write_grid"]  # fixtures of the grids' own tests


def good(cell_id: str, run: RunFolder) -> str:
    finish(run)
    return ""


def test_a_grid_is_run_and_its_table_printed(write_grid: Any, stub: Any, capsys: Any, tmp_path: Path) -> None:
    """A table without the measured values, or tables that are not where the command says."""
    stub(good)
    assert main(["bench", str(write_grid()), "--runs-dir", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert "90.0" in said and "efficientnet_lite0 at 32 px" in said
    files = said.split("Tables: ")[1].replace("\n", "").split(", ")
    assert all(Path(name.strip()).is_file() for name in files) and len(files) == 4
    assert (tmp_path / "runs" / "bench" / "small" / "grid.json").is_file()


def test_json_and_out(write_grid: Any, stub: Any, capsys: Any, tmp_path: Path) -> None:
    """Something besides JSON on stdout; results in another folder than the one asked for."""
    stub(good)
    assert main(["bench", str(write_grid()), "--out", str(tmp_path / "here"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["lines"][0]["mean"] == pytest.approx(0.9)
    assert (tmp_path / "here" / "results.md").is_file() and not (tmp_path / "runs").exists()


def test_a_plan_computes_nothing_and_hides_nothing(write_grid: Any, capsys: Any, tmp_path: Path) -> None:
    """A look at a grid that starts it; one that hides what cannot be run, or refuses for data that are elsewhere."""
    rows = [{"name": "good"}, {"name": "bad", "recipe": "nope"}, {"name": "gone", "datasets": ["cifar10"]}]
    command = [
        "bench",
        str(write_grid(rows)),
        "--out",
        str(tmp_path / "here"),
        "--data-root",
        str(tmp_path / "no data"),
    ]
    assert main([*command, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sum(not cell["problem"] for cell in said["cells"]) == 2
    assert sum("nope" in cell["problem"] and not cell["missing"] for cell in said["cells"]) == 2
    assert sum(cell["missing"] for cell in said["cells"]) == 2 and list(said["missing"]) == ["data set cifar10"]
    costs = [cell for cell in said["cells"] if not cell["problem"]]
    assert all(cell["seconds"] > 0 and cell["kept"] > 1e6 and cell["cache"] > 0 for cell in costs)
    assert main([*command, "--plan"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "python -m panda_core run" in told and "--download cifar10" in told and "images a second" in told
    assert f"Start it, or go on with it: python -m panda_core bench {command[1]}" in told
    assert not (tmp_path / "here").exists()


def test_a_plan_needs_neither_weights_nor_data_nor_the_device(write_grid: Any, capsys: Any, tmp_path: Path) -> None:
    """A plan for another machine that is refused because this one lacks what that one has."""
    grid = write_grid([{"name": "gone", "datasets": ["cifar10"], "classes": 1}])
    command = ["bench", str(grid), "--plan", "--json", "--backbone", "timm:resnet18", "--device", "cuda:7"]
    assert main([*command, "--data-root", str(tmp_path / "no data")]) == 0
    said = json.loads(capsys.readouterr().out)
    (cell,) = said["cells"]
    assert cell["config"]["backbone"] == "timm:resnet18" and cell["config"]["device"] == "cuda:7"
    assert cell["seconds"] is None and "cuda:7" in cell["how"]
    assert cell["cache"] == (24 + 40) * 128 * 4 * 4 * 2  # 24 and 40 images of 32 px after layer2, in halves
    assert {"data set cifar10", "weights of timm:resnet18"} <= set(said["missing"])
    assert "--backbone timm:resnet18 --device cuda:7" in said["start"]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([{"name": "good"}, {"name": "gone", "datasets": ["cifar10"]}], 0),
        ([{"name": "good"}, {"name": "bad", "recipe": "nope"}], 1),
        ([{"name": "good"}, {"name": "figures", "published": "nobody/nothing"}], 1),
    ],
)
def test_exit_code(
    rows: list[dict[str, Any]], code: int, write_grid: Any, stub: Any, capsys: Any, tmp_path: Path
) -> None:
    """A wrong row that a script takes for success; data that are not here taken for a failure."""
    stub(good)
    assert main(["bench", str(write_grid(rows)), "--out", str(tmp_path / "here")]) == code
    assert "not run" in capsys.readouterr().err


def test_a_failing_cell_ends_with_1(write_grid: Any, stub: Any, capsys: Any, tmp_path: Path) -> None:
    """A failure that only the table tells of."""
    stub(lambda cell_id, run: "It is broken.")
    assert main(["bench", str(write_grid()), "--out", str(tmp_path / "here")]) == 1
    assert "It is broken." in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["nope"], ["quick", "--jobs", "0"], ["quick", "--backend", "x"], ["quick", "--jobs", "x"]]
)
def test_mistakes_are_one_sentence(wrong: list[str], capsys: Any, tmp_path: Path) -> None:
    """A traceback, or a page of usage, for a typing error."""
    try:
        code = main(["bench", *wrong, "--out", str(tmp_path / "here")])
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert code == 2 and said.out == ""
    assert said.err.strip().splitlines()[-1].startswith(("panda_core:", "python -m panda_core bench:"))


def test_help_names_the_grids(capsys: Any) -> None:
    """Grids that nobody hears of."""
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in built_in_grids())
