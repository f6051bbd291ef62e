"""The same commands from any folder, in any locale, on folders that may only be read; sentences that count right."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from panda_core import RunConfig, UsageError
from panda_core.cli import main
from panda_core.cli.progress import show_progress
from panda_core.config import default_cache_dir, default_data_root, default_runs_dir
from panda_core.events import CacheProgress, RunStarted
from panda_core.runs.kinds import prepare, resolve


@pytest.mark.parametrize(
    ("encoding", "own_process"),
    [("cp1252", True), ("cp1252", False), ("ascii", False)],
    ids=["process", "cp1252", "ascii"],
)
def test_names_of_any_script_reach_any_stream(
    encoding: str,
    own_process: bool,
    own_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    panda: Callable[..., Any],
) -> None:
    """A table that ends after the rows before a name of another script; JSON and tables that print nothing at all."""
    from PIL import Image

    for name in ("a.png", "日本.png", "Ärger.png"):
        Image.new("RGB", (32, 32), (90, 120, 40)).save(tmp_path / name)
    images = [str(path) for path in sorted(tmp_path.glob("*.png"))]

    def printed(*arguments: str) -> str:
        if own_process:
            environment = {**os.environ, "PYTHONIOENCODING": encoding}
            done = panda(*arguments, env=environment, encoding=encoding)
            assert done.returncode == 0, done.stderr
            return str(done.stdout)
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(arguments) == 0
        stream.flush()
        return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]

    assert len(list(csv.DictReader(io.StringIO(printed("score", str(own_run), *images, "--csv"))))) == 3
    if not own_process:
        rows = json.loads(printed("score", str(own_run), *images, "--json"))
        assert [Path(row["path"]).name for row in rows] == [Path(path).name for path in images]
        assert "a.png" in printed("score", str(own_run), *images)


def test_a_run_is_found_however_it_is_named(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`show .` of a run without a name; a folder called `~` beside the one that is meant."""
    monkeypatch.chdir(own_run)
    assert main(["show", ".", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == own_run.name
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copytree(own_run, tmp_path / "home" / "x" / own_run.name)
    for command in (["list"], ["show", own_run.name]):
        assert main([*command, "--runs-dir", "~/x", "--json"]) == 0
        assert own_run.name in capsys.readouterr().out
    monkeypatch.setenv("PANDA_RUNS", "~/x")
    assert main(["list", "--json"]) == 0
    assert own_run.name in capsys.readouterr().out


def test_a_run_goes_where_its_flag_says(
    tiny: Callable[..., RunConfig],
    finish: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new folder called `~` in the current one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    finish(tiny(recipe="frozen", steps=None, runs_dir="~/runs"))
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1 and not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("variable", "place"),
    [("PANDA_DATA", default_data_root), ("PANDA_RUNS", default_runs_dir), ("PANDA_CACHE_DIR", default_cache_dir)],
)
def test_a_variable_may_say_home(
    variable: str, place: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder called `~`, since no shell has read a line of a Dockerfile or of a unit of systemd."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/there")
    assert str(place()) == str(tmp_path / "there")
    monkeypatch.setenv(variable, "")
    assert "~" not in str(place())


def test_resuming_where_nothing_can_be_written_is_one_sentence(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback for a run folder that may only be read."""
    (own_run / "lock").unlink(missing_ok=True)
    (own_run / "lock").mkdir()  # stands for a folder that may only be read, which root may write all the same
    assert main(["resume", str(own_run)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("panda_core: ") and "lock" in error and len(error.splitlines()) == 1


def test_sentences_count_right(tiny: Callable[..., RunConfig]) -> None:
    """ "k must be in [1, 1]", and a bar that is 200 of 21 full."""
    config = resolve(tiny(recipe="frozen", steps=None, train_limit=2, set={"k": 9}))
    with pytest.raises(UsageError, match=r"`k` of scorer `knn` must be in \[1, 2\], since .* 2 normal ones; got 9"):
        prepare(config)
    events = [RunStarted(run_id="a", config={"steps": 0})]
    events += [CacheProgress(split="seen", done=done, total=total) for done, total in ((21, 21), (0, 200), (200, 200))]  # type: ignore[misc]
    assert [event.to_json()["event"] for event in show_progress(iter(events))] == ["RunStarted", *["CacheProgress"] * 3]
