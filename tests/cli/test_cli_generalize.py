"""The `generalize` command, and `score` beside references of a new class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import load_run
from panda_core.cli import main


@pytest.fixture
def command(tiny_backbone: str, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function (arguments...) -> the words of a `generalize` that takes a moment: digits 4 and 5, then 3."""

    def words(*more: str) -> list[str]:
        fixed = ["--dataset", "digits", "--normal-class", "3", "--backbone", tiny_backbone, "--image-size", "32"]
        fixed += ["--steps", "3", "--batch-size", "8", "--test-limit", "20", "--runs-dir", str(tmp_path / "runs")]
        options = {"seen": "4@digits,5@digits", "seen_limit": 10, "blocks": 2, "position_width": 8}
        return [
            "generalize",
            *fixed,
            *(part for item in options.items() for part in ("--set", "=".join(map(str, item)))),
            *more,
        ]

    return words


def photos(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_it_tells_its_events_and_leaves_a_run(
    command: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Output that a program cannot read, or maps that are asked for and not written."""
    assert main(command("--json", "--maps", str(tmp_path / "maps"))) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in (events[0], events[-1])] == ["RunStarted", "RunFinished"]
    assert events[-1]["metrics"]["draws"][0]["image_auroc"] == events[-1]["metrics"]["auroc"]
    assert {"4@digits", "5@digits"} == set(events[-1]["metrics"]["seen"])
    loaded = load_run(tmp_path / "runs" / events[0]["run_id"])
    assert len(list((tmp_path / "maps").rglob("*.npy"))) == len(loaded.split.test)


def test_its_result_is_told_in_words_and_equal_when_computed_again(
    command: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A summary that hides what was reached without training, or a run that cannot be verified."""
    assert main(command()) == 0
    assert "without any training" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    assert main(["verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bit_for_bit"] is True
    assert main(["show", str(folder)]) == 0
    assert "--recipe resad" in capsys.readouterr().out


def test_score_takes_references_of_a_new_class(
    command: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """References that are taken and ignored."""
    main(command())
    capsys.readouterr()
    (folder,) = (tmp_path / "runs").iterdir()
    new, others = photos(tmp_path / "new", 3, seed=1), photos(tmp_path / "others", 2, seed=2)
    found: list[list[dict[str, Any]]] = []
    for more in ([], ["--references", str(new)]):
        assert main(["score", str(folder), str(others), "--json", *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [row["path"] for row in found[0]] == [row["path"] for row in found[1]]
    assert [row["score"] for row in found[0]] != [row["score"] for row in found[1]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--recipe", "patchcore"], "for `python -m panda_core segment --recipe patchcore`"),
        (["--recipe", "resat"], "Unknown way to generalise"),
        (["--set", "seen=3@digits"], "must not be trained on"),
        (["--set", "seen=4@nothing"], "Unknown dataset"),
        (["--set", "residual=cubed"], "Unknown value of `residual`"),
    ],
)
def test_wrong_usage_is_one_sentence(
    more: list[str], message: str, command: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback, or an exit code that says success."""
    assert main(command(*more)) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
