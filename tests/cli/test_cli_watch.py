"""`score --watch`: lines that a kill does not tear, a restart that judges nothing twice, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from panda_core import RunConfig, load_run
from panda_core.cli import main, watching
from panda_core.cli.map_files import check_target
from panda_core.runs import watch
from panda_core.runs.score import score_files

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def the_run(finish: Callable[..., Any], spot: Callable[..., RunConfig]) -> Path:
    return Path(finish(spot())[0].path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("=1+1.png", "a.png", "b.jpg", "deep/c.png", "new\nline.png", "é.png"):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_text("text")
    os.utime(folder / "broken.png", (1e9, 1e9))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK", 0.02)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function (images, arguments...) -> exit code of `score --watch`, ended by SIGINT after so many images.

    0 images: after the third look.
    """

    def call(images: int, *arguments: str) -> int:
        def follow(*given: Any, **named: Any) -> Any:
            left, looks = images, 3
            for found in watch.follow(*given, **named):
                yield found
                left, looks = left - (found is not None), looks - (found is None)
                if left == 0 or (images == 0 and looks == 0):
                    signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(watching, "follow", follow)
        return main(["score", *arguments])

    return call


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with open(path, newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_each_image_has_one_line_and_its_map(
    the_run: Path, photos: Path, tmp_path: Path, watched: Callable[..., int], capsys: Capture, ending: str
) -> None:
    """Other scores than those of `score`; a restart that judges again; a map of another image; a formula."""
    out, maps = tmp_path / f"judged.{ending}", tmp_path / "maps"
    command = [str(the_run), "--watch", str(photos), "--out", str(out), "--maps", str(maps)]
    assert watched(3, *command) == 0
    assert "Judged: 3" in capsys.readouterr().err and len(rows_of(out)) == 3
    assert watched(4, *command) == 0
    assert "Judged before: 3" in capsys.readouterr().err
    rows = rows_of(out)
    names = sorted(row["path"].removeprefix("'") for row in rows)
    assert names == sorted(["=1+1.png", "a.png", "b.jpg", "deep/c.png", "new\\nline.png", "é.png", "broken.png"])
    files = [(name, photos / name.replace("\\n", "\n")) for name in names]
    said = {one.name: one for one in score_files(load_run(the_run).detector(), files, batch=1)}
    for row in rows:
        one = said[row["path"].removeprefix("'")]
        assert row["verdict"] == one.verdict and (row["score"] or None) == (
            one.score if ending == "jsonl" or one.score is None else str(one.score)
        )
        assert bool(row["map"]) == (one.score is not None)
        if row["map"]:
            with Image.open(maps / row["map"]) as image, Image.open(dict(files)[one.name]) as photo:
                assert image.size == photo.size
    assert len({row["map"] for row in rows}) == 7  # six maps, and none of the broken one
    assert watched(0, *command) == 0 and rows_of(out) == rows


def test_lines_of_another_threshold_are_told(
    the_run: Path, photos: Path, tmp_path: Path, watched: Callable[..., int], capsys: Capture
) -> None:
    """The file of another run, whose verdicts stand for those of this one without a word."""
    command = [str(the_run), "--watch", str(photos), "--out", str(tmp_path / "judged.jsonl")]
    assert watched(3, *command) == 0 and watched(0, *command) == 0
    assert "another threshold" not in capsys.readouterr().err
    assert watched(0, *command, "--false-alarm-rate", "0.4") == 0
    assert "at another threshold" in capsys.readouterr().err


def test_lines_on_the_standard_output(
    the_run: Path, photos: Path, watched: Callable[..., int], capsys: Capture
) -> None:
    """Words for people between the lines; a line without a column."""
    capsys.readouterr()
    assert watched(7, str(the_run), "--watch", str(photos)) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert len(rows) == 7 and all(tuple(row) == watching.COLUMNS for row in rows)
    assert "Ctrl-C" in said.err and "1 unreadable" in said.err


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_torn_line_was_not_judged(
    the_run: Path, photos: Path, tmp_path: Path, watched: Callable[..., int], ending: str
) -> None:
    """Half a line, left by a kill, that is taken for a judged image, or that the next line is glued to."""
    out = tmp_path / f"judged.{ending}"
    command = [str(the_run), "--watch", str(photos), "--out", str(out)]
    assert watched(7, *command) == 0
    whole = out.read_bytes()
    first = len(whole.splitlines()[0])
    for cut in (1, 40, len(whole.splitlines()[-1]), len(whole) - first - 9, len(whole) - 9, len(whole)):
        out.write_bytes(whole[: len(whole) - cut])
        missing = 7 - max(0, whole[: len(whole) - cut].count(b"\n") - (ending == "csv"))
        assert watched(missing, *command) == 0
        assert len(rows_of(out)) == 7 and len({row["path"] for row in rows_of(out)}) == 7


def test_killed_at_any_moment(
    forked: Callable[..., Any], the_run: Path, photos: Path, tmp_path: Path, watched: Callable[..., int]
) -> None:
    """A kill that costs a line, or after which an image is judged twice; scores that differ after resuming."""
    said = {}
    for wait in (0.0, 0.05, 0.1):
        out, maps = tmp_path / f"{wait}.jsonl", tmp_path / f"maps {wait}"
        command = (str(the_run), "--watch", str(photos), "--out", str(out), "--maps", str(maps))
        process, _ = forked("score", *command)
        while not out.exists() or not out.stat().st_size:
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        process.join(10)
        there = out.read_bytes().count(b"\n")
        assert watched(7 - there, *command) == 0
        said[wait] = sorted((row["path"], row["score"], row["verdict"]) for row in rows_of(out))
        assert len(said[wait]) == 7
    assert said[0.0] == said[0.05] == said[0.1]


def test_what_is_refused(the_run: Path, photos: Path, tmp_path: Path, capsys: Capture) -> None:
    """Maps that are judged as images; lines after those of something else; two programs that write one file."""
    other, out = tmp_path / "other.csv", tmp_path / "out.jsonl"
    other.write_text("path,score\na.png,1\n")
    (tmp_path / "other.jsonl").write_text('{"event": "RunStarted"}\n')
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    watching_it = [str(the_run), "--watch", str(photos)]
    for arguments, words in (
        ([str(the_run), str(photos), "--out", str(out)], "`--out` is for `--watch`"),
        ([*watching_it, str(photos / "a.png")], "takes one folder"),
        ([str(the_run), "--watch", str(tmp_path / "nowhere")], "takes one folder"),
        ([*watching_it, "--maps", str(photos / "maps")], "must lie outside"),
        ([*watching_it, "--maps", str(tmp_path / "maps.zip")], "must be a folder"),
        ([*watching_it, "--maps", str(tmp_path / "full")], "not an empty folder"),
        ([*watching_it, "--out", str(other)], "something else than comma-separated"),
        ([*watching_it, "--out", str(tmp_path / "other.jsonl")], "something else than JSON"),
    ):
        capsys.readouterr()
        assert main(["score", *arguments]) == 2
        said = capsys.readouterr()
        assert words in said.err and said.out == "", said.err
    with FileLock(f"{out}.lock"):
        assert main(["score", *watching_it, "--out", str(out)]) == 2
        assert "another process" in capsys.readouterr().err
    check_target(tmp_path / "maps")  # nothing was written


def test_rejects_that_part_from_the_promise_are_told_once(
    the_run: Path, tmp_path: Path, watched: Callable[..., int], capsys: Capture
) -> None:
    """A folder full of rejects of which nobody hears; a warning at every line; a restart that forgets the last ones."""
    folder, out = tmp_path / "in", tmp_path / "out.jsonl"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(120):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    command = [str(the_run), "--watch", str(folder), "--out", str(out)]
    assert watched(60, *command) == 0 and watched(60, *command) == 0
    rows = rows_of(out)
    shares = [row["last_100"] for row in rows]
    assert shares[-1] == sum(row["verdict"] == "anomalous" for row in rows[-100:]) / 100
    warned = [number for number, row in enumerate(rows) if row["warning"]]
    assert warned == ([99] if shares[-1] > 0.5 else []) and shares[-1] > 0.5
    assert capsys.readouterr().err.count("Warning: ") == 1
