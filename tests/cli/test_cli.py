"""The command line: exit codes, one sentence for every mistake, JSON that is only JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import load_run
from panda_core.backbones import BACKBONES
from panda_core.cli import main
from panda_core.cli.arguments import parser
from panda_core.cli.progress import show_progress
from panda_core.datasets import DATASETS
from panda_core.events import DataNoted, ImagesSkipped
from panda_core.few_shot.table import GENERALISERS
from panda_core.methods.table import RECIPES
from panda_core.scoring.table import SCORERS
from panda_core.segmentation.table import SEGMENTERS

Capture = pytest.CaptureFixture[str]
COMMANDS = re.findall(r"^    ([a-z]+)(?: |$)", parser().format_help(), re.M)


def call(*arguments: str) -> int:
    """Return the exit code of a command, also where the parser ends the program."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def printed(capsys: Capture, *arguments: str, code: int = 0) -> Any:
    """Return the JSON that a command prints, and check that it prints nothing else on stdout."""
    capsys.readouterr()
    assert call(*arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def sentence(capsys: Capture, *arguments: str, code: int = 2) -> str:
    """Return what a wrong command says: one line on stderr, nothing on stdout."""
    capsys.readouterr()
    assert call(*arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    return said.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_exits_0(command: str, capsys: Capture) -> None:
    """A help text that fails on a percent sign of its own."""
    assert {"doctor", "run", "segment", "generalize", "score", "export", "report", "bench"} <= set(COMMANDS)
    assert call(*command.split(), "--help") == 0
    assert f"usage: python -m panda_core {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "table", "extra"),
    [
        ("datasets", DATASETS, {"folder:PATH", "synthetic:KEY", "imagenet_sample"}),
        ("backbones", BACKBONES, {"timm:NAME"}),
        ("recipes", {**RECIPES, **SEGMENTERS, **GENERALISERS}, set()),
        ("scorers", SCORERS, set()),
    ],
)
def test_lists_are_the_tables(key: str, table: dict[str, Any], extra: set[str], capsys: Capture) -> None:
    """A row that is in the table and not in the list, or that says neither its licence nor where to get it."""
    rows = printed(capsys, key)
    assert {row["key"] for row in rows} == set(table) | extra
    for row in rows:
        assert {"key", "title", "source", "licence", "available"} <= set(row)
        assert row["title"] and row["source"]
        assert row["available"] or row["get"]
    assert call(key) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in table)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["COMMAND"]),
        (["fly"], ["fly"]),
        (["run", "--datset", "digits"], ["--datset"]),
        (["run", "--dataset", "digts"], ["`digts`", "--dataset digits"]),
        (["run", "--recipe", "pandaearly"], ["`pandaearly`", "--recipe panda-early"]),
        (["segment", "--recipe", "panda-early"], ["panda_core run --recipe panda-early`", "`patchcore`"]),
        (["segment", "--recipe", "resad"], ["panda_core generalize --recipe resad`", "`segment` takes"]),
        (["generalize", "--recipe", "spade"], ["panda_core segment --recipe spade`", "takes `resad`"]),
        (["segment", "--recipe", "patchcor"], ["`patchcor`", "--recipe patchcore"]),
        (["run", "--scorer", "knn2"], ["`knn2`", "--scorer knn"]),
        (["run", "--backbone", "efficientnet"], ["`efficientnet`", "--backbone efficientnet_lite"]),
        (["run", "--backbone", "timm:resnet999"], ["`resnet999`", "--backbone timm:"]),
        (["run", "--normal-class", "cat"], ["`cat`", "--normal-class"]),
        (["run", "--feature-norm", "l3"], ["`l3`", "--feature-norm l2"]),
        (["run", "--device", "gpu"], ["`gpu`", "--device"]),
        (["run", "--steps", "-5"], ["-5", "--steps"]),
        (["run", "--steps", "many"], ["many", "whole number"]),
        (["run", "--lr", "0"], ["`0", "--lr"]),
        (["run", "--lr", "nan"], ["nan", "--lr"]),
        (["run", "--image-size", "8"], ["8", "[16, 1024]", "--image-size"]),
        (["run", "--set", "k"], ["`k`", "--set k=2"]),
        (["run", "--set", "kk=2"], ["`kk`", "--set k"]),
        (["run", "--set", "k=1000", "--train-limit", "20"], ["[1, 10]", "1000", "--set k=2"]),
        (["run", "--set", "clip=none"], ["`none`", "--set clip=0.001"]),
        (["run", "--recipe", "frozen", "--steps", "3"], ["frozen", "must be 0"]),
        (["run", "--dataset", "cifar10"], ["cifar-10-python.tar.gz"]),
        (["run", "--dataset", "folder:/nowhere"], ["/nowhere"]),
        (["show", "nothing"], ["`nothing`", "panda_core list"]),
        (["resume", "nothing"], ["`nothing`", "panda_core list"]),
        (["verify", "nothing"], ["`nothing`", "panda_core list"]),
        (["score", "nothing", "x.png"], ["x.png"]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence_with_the_corrected_call(
    arguments: list[str], parts: list[str], capsys: Capture, tmp_path: Path
) -> None:
    """A traceback, a page of usage, or exit code 1, for a misspelt word; a run folder made for nothing."""
    said = sentence(capsys, *arguments)
    for part in parts:
        assert part in said, said
    assert not (tmp_path / "runs").exists()


def test_abbreviated_flags_are_refused(capsys: Capture) -> None:
    """`--step 5` that means another flag in a later version."""
    assert "--step" in sentence(capsys, "run", "--step", "5")


def test_a_run_in_a_process_of_its_own(panda: Callable[..., Any], tmp_path: Path) -> None:
    """The documented command fails, or prints something besides JSON; exactly what a script would do."""
    done = panda(
        *("run", "--json", "--dataset", "digits", "--normal-class", "3", "--image-size", "32", "--steps", "1"),
        *("--train-limit", "8", "--test-limit", "10", "--batch-size", "4", "--name", "from a script"),
        env={**os.environ, "PANDA_RUNS": str(tmp_path / "elsewhere")},
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["RunStarted", "RunFinished"]
    assert events[0]["config"]["name"] == "from a script"
    (folder,) = (tmp_path / "elsewhere").iterdir()
    assert [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()] == events


def test_a_wrong_call_in_a_process_of_its_own(panda: Callable[..., Any]) -> None:
    """An exit code that is lost on the way out of the module."""
    done = panda("run", "--recipe", "panda")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_run_for_people(tiny_backbone: str, capsys: Capture, tmp_path: Path) -> None:
    """A progress bar in the output that is kept; no word on where the run is, or that its threshold promises little."""
    flags = ("--backbone", tiny_backbone, "--image-size", "32", "--train-limit", "12", "--test-limit", "20")
    assert call("run", *flags, "--steps", "2", "--normal-class", "3") == 0
    said = capsys.readouterr()
    first, warning, second = said.out.splitlines()
    assert warning.startswith("6 normal images set the threshold; 19 are needed")
    assert first.startswith("AUROC ") and "95 % interval" in first and "unadapted" in first
    assert Path(second.removeprefix("Run folder: ")).is_dir()
    assert "step 0: AUROC" in said.err
    (run,) = (tmp_path / "runs").iterdir()
    assert sentence(capsys, "resume", str(run)).startswith("panda_core: Run `")


def test_what_is_left_out_is_said_with_the_reason(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of skipped files without a word why; thousands of lines that push everything else off the screen."""
    monkeypatch.setenv("COLUMNS", "200")
    events = [
        ImagesSkipped(split="masks", count=1, names=["mask of [b]/1.png"], reasons=["it is inverted"]),
        ImagesSkipped(
            split="train", count=12, names=[f"{row}.png" for row in range(12)], reasons=["it is cut off"] * 12
        ),
        DataNoted(told="Set `--set range=data`."),
    ]
    assert list(show_progress(iter(events))) == events
    shown = capsys.readouterr().err
    assert "1 mask is not used:" in shown and "mask of [b]/1.png: it is inverted" in shown
    assert "12 train images are skipped:" in shown and "9.png: it is cut off" in shown
    assert "10.png" not in shown and "and 2 more" in shown and "Set `--set range=data`." in shown


def test_show_and_list(digits_run: Path, capsys: Capture) -> None:
    """A run that is listed without its result."""
    (row,) = printed(capsys, "list", "--runs-dir", str(digits_run.parent))
    assert (row["run"], row["state"], row["dataset"], row["problem"]) == (digits_run.name, "finished", "digits", "")
    shown = printed(capsys, "show", digits_run.name, "--runs-dir", str(digits_run.parent))
    assert [point["step"] for point in shown["curve"]] == [0, 2, 4]
    assert shown["metrics"]["auroc"] == row["auroc"] is not None
    assert shown["config"]["steps"] == 4 and shown["environment"]["weights_sha256"]
    assert call("show", str(digits_run)) == 0
    text = capsys.readouterr().out
    assert "python -m panda_core run" in text and "Final AUROC" in text
    assert call("list", "--runs-dir", str(digits_run.parent)) == 0
    assert digits_run.name in capsys.readouterr().out
    assert call("list") == 0
    assert "No runs in" in capsys.readouterr().out
    assert printed(capsys, "list") == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of three readable images and one that is text, in folders of their own."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deep/=1+1.png"):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(folder / name)
    (folder / "no image.png").write_text("text")
    (folder / "notes.txt").write_text("not an image by its name")
    return folder


def test_score_takes_folders_and_files(digits_run: Path, pictures: Path, capsys: Capture) -> None:
    """Files of a folder looked for in the current folder; an unreadable one that ends the whole command."""
    rows = printed(capsys, "score", str(digits_run), str(pictures), str(pictures / "a.png"))
    names = ("a.png", "b.jpg", "deep/=1+1.png", "no image.png", "a.png")
    assert [row["path"] for row in rows] == [str(pictures / name) for name in names]
    assert all(set(row) == {"path", "score", "percentile", "verdict"} for row in rows)
    scored = [row for row in rows if row["score"] is not None]
    assert len(scored) == 4 and rows[0]["score"] == pytest.approx(rows[4]["score"], rel=1e-3)
    detector = load_run(digits_run).detector()
    np.testing.assert_allclose(
        [row["score"] for row in scored], detector.anomaly_scores([row["path"] for row in scored]), rtol=1e-3
    )
    threshold = detector.threshold(0.05)
    assert [row["verdict"] for row in scored] == [
        "anomalous" if row["score"] > threshold else "normal" for row in scored
    ]
    (broken,) = [row for row in rows if row["score"] is None]
    assert broken["verdict"].startswith("unreadable: ") and broken["percentile"] is None
    assert call("score", str(digits_run), str(pictures)) == 0
    assert "higher = more anomalous" in capsys.readouterr().out


def test_score_leaves_masks_out_and_names_what_is_not_read(
    digits_run: Path, pictures: Path, capsys: Capture, tmp_path: Path
) -> None:
    """The masks of a run's own folder judged as images, and photos in other formats that get no row."""
    folder = tmp_path / "parts"
    for place in ("good/0.png", "hole/1.png", "ground_truth/hole/1_mask.png", "hole/1_gt.PNG", "hole/phone.heic"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / "a.png", folder / place)
    assert call("score", str(digits_run), str(folder), "--json") == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)
    assert [row["path"] for row in rows] == [
        str(folder / name) for name in ("good/0.png", "hole/1.png", "hole/phone.heic")
    ]
    assert "2 masks are left out" in shown.err
    (folder / "hole/phone.heic").write_bytes(b"x")
    (row,) = [row for row in printed(capsys, "score", str(digits_run), str(folder)) if row["score"] is None]
    assert row["verdict"].endswith("`.heic` files are not read; save it as PNG or JPEG.")


def test_scores_as_csv_start_no_formula(
    digits_run: Path, pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file name that a spreadsheet runs as a formula; commas and newlines that break the table."""
    monkeypatch.chdir(pictures / "deep")
    for name in ("@SUM(A1).png", "-2+3.png", "+1.png", 'a,"b".png'):
        shutil.copy(pictures / "a.png", name)
    capsys.readouterr()
    paths = ["=1+1.png", "@SUM(A1).png", "+1.png", 'a,"b".png', "./-2+3.png"]
    assert call("score", str(digits_run), *paths, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["path", "score", "percentile", "verdict"]
    assert [row["path"] for row in rows][:4] == ["'=1+1.png", "'@SUM(A1).png", "'+1.png", 'a,"b".png']
    for row in rows:
        assert all(value[:1] not in "=+-@\t\r" for value in row.values())
        assert float(row["score"]) >= 0 and 0 <= float(row["percentile"]) <= 100


def test_a_name_that_is_no_text_can_be_scored(digits_run: Path, pictures: Path, capsys: Capture) -> None:
    """A traceback on the way out for a file name that is not UTF-8."""
    name = os.fsencode(pictures / "deep") + b"/\xff.png"
    shutil.copy(pictures / "a.png", name)
    for form in ("--json", "--csv"):
        capsys.readouterr()
        assert call("score", str(digits_run), str(pictures / "deep"), form) == 0
        capsys.readouterr().out.encode()


def test_nothing_to_score(digits_run: Path, pictures: Path, capsys: Capture, tmp_path: Path) -> None:
    """Exit code 0 for a command that scored nothing."""
    (tmp_path / "empty").mkdir()
    assert "holds no images" in sentence(capsys, "score", str(digits_run), str(tmp_path / "empty"))
    assert "neither a file nor a folder" in sentence(capsys, "score", str(digits_run), str(tmp_path / "gone.png"))
    rate = ("--false-alarm-rate", "2")
    assert "(0, 1)" in sentence(capsys, "score", str(digits_run), str(pictures / "a.png"), *rate)
    (row,) = printed(capsys, "score", str(digits_run), str(pictures / "no image.png"), code=1)
    assert row["score"] is None


def test_the_false_alarm_rate_moves_the_verdict(digits_run: Path, capsys: Capture, tmp_path: Path) -> None:
    """A flag without effect: at 60 % allowed false alarms more is called anomalous than at 1 %."""
    loaded = load_run(digits_run)
    (tmp_path / "normal").mkdir()
    for row in range(20):
        Image.fromarray(loaded.images("train").load(row)).save(tmp_path / "normal" / f"{row}.png")
    counts = []
    for rate in ("0.01", "0.6"):
        rows = printed(capsys, "score", str(digits_run), str(tmp_path / "normal"), "--false-alarm-rate", rate)
        counts.append(sum(row["verdict"] == "anomalous" for row in rows))
    assert counts[0] <= counts[1]


def test_the_guard_against_the_network_works() -> None:
    """Tests that reach the network without anybody noticing."""
    import socket

    with pytest.raises(OSError, match="tried to connect"):
        socket.socket().connect(("192.0.2.1", 80))
    with pytest.raises(OSError, match="tried to look up"):
        socket.getaddrinfo("example.org", 80)
