"""`datasets` on the command line: what is here, fetching one, checking one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.cli import main
from panda_core.datasets import DATASETS

Capture = pytest.CaptureFixture[str]


def call(*arguments: str) -> int:
    """Return the exit code of `datasets`, also where the parser ends the program."""
    try:
        return main(["datasets", *arguments])
    except SystemExit as end:
        return int(end.code or 0)


def printed(capsys: Capture, *arguments: str, code: int = 0) -> Any:
    """Return the JSON that is printed, and check that nothing else is on stdout."""
    capsys.readouterr()
    assert call(*arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def sentence(capsys: Capture, *arguments: str) -> str:
    """Return what a wrong command says in one line."""
    capsys.readouterr()
    assert call(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    return said.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 30 normal and 30 anomalous pictures."""
    for kind, first in (("good", 0), ("bad", 100)):
        (tmp_path / "own" / kind).mkdir(parents=True)
        for row in range(30):
            pixels = np.random.default_rng(first + row).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
            picture.save(tmp_path / "own" / kind / f"{row:02d}.png")
    return tmp_path / "own"


def test_every_data_set_is_described(tmp_path: Path, capsys: Capture) -> None:
    """A program that cannot tell what is here, what may be used, and how many images there are."""
    rows = {row["key"]: row for row in printed(capsys, "--data-root", str(tmp_path))}
    for key, dataset in DATASETS.items():
        row = rows[key]
        assert row["licence"] == dataset.licence and row["citation"] and row["classes"] and row["problem"] == ""
        assert row["available"] == (row["counts"] is not None) == (row["get"] == "")
    assert rows["digits"]["counts"]["8"] == {"train": 122, "test_normal": 52, "test_anomalous": 487}
    sample = rows["imagenet_sample"]
    assert not sample["available"] and "1,000 files" in sample["get"] and sample["noncommercial"]
    assert {key for key in DATASETS if rows[key]["noncommercial"]} == {
        "elpv",
        "mvtec",
        "cub200",
        "cats_vs_dogs",
        "dior",
    }
    assert {key for key in DATASETS if rows[key]["can_download"]} == {
        "cifar10",
        "cifar100",
        "fashion_mnist",
        "flowers102",
    }


def test_a_damaged_copy_does_not_hide_the_others(tmp_path: Path, capsys: Capture) -> None:
    """One broken file that ends the list with an error."""
    (tmp_path / "cifar-100-python").mkdir()
    for name in ("train", "test"):
        (tmp_path / "cifar-100-python" / name).write_bytes(b"junk")
    rows = {row["key"]: row for row in printed(capsys, "--data-root", str(tmp_path))}
    assert rows["cifar100"]["counts"] is None and "is no CIFAR batch" in rows["cifar100"]["problem"]
    assert rows["elpv"]["counts"]["mono"]["train"] == 412


def test_a_sound_folder_passes_and_a_leak_fails(folder: Path, capsys: Capture) -> None:
    """Exit code 0 where the same image is in both halves; findings without the images they are about."""
    key = f"folder:{folder}"
    found = printed(capsys, "--check", key)
    assert found["train"] == 21 and found["test"] == 39 and found["normal_class"] == "good"
    assert {finding["kind"] for finding in found["findings"]} == {"few_normal"}
    for row in range(1, 12):  # some of them are held out, whatever the seed
        (folder / "good" / f"{row:02d}.png").write_bytes((folder / "good" / "00.png").read_bytes())
    leaks = [finding for finding in printed(capsys, "--check", key, code=1)["findings"] if finding["kind"] == "in_both"]
    assert leaks[0]["level"] == "problem" and "train: good/" in str(leaks[0]["examples"])
    assert call("--check", key) == 1
    assert "Remove them from one of the two" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_limits_and_the_seed_are_followed(folder: Path, capsys: Capture) -> None:
    """Options that are accepted and change nothing."""
    found = printed(capsys, "--check", f"folder:{folder}", "--train-limit", "5", "--test-limit", "8", "--seed", "3")
    assert (found["train"], found["test"], found["seed"]) == (5, 8, 3)
    for option in ("--train-limit", "--test-limit"):
        assert "must be at least 1; got 0" in sentence(capsys, "--check", "digits", option, "0")
    assert "must be at least 0; got -1" in sentence(capsys, "--check", "digits", "--seed", "-1")


def test_wrong_calls_are_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    """A traceback for an unknown name, a missing data set, or one that has to be fetched by hand."""
    root = ("--data-root", str(tmp_path))
    assert "Unknown dataset `digit`" in sentence(capsys, "--check", "digit")
    assert "Unknown class of `digits` `x`" in sentence(capsys, "--check", "digits", "--normal-class", "x")
    assert "CUB_200_2011.tgz (1.2 GB)" in sentence(capsys, "--check", "cub200", *root)
    assert "has to be fetched by hand" in sentence(capsys, "--download", "dior", *root)
    assert "not allowed with" in sentence(capsys, "--download", "digits", "--check", "digits")


def test_what_is_here_is_not_fetched_again(tmp_path: Path, capsys: Capture) -> None:
    """A download of what came with the installation; a licence that nobody is told of."""
    row = printed(capsys, "--download", "elpv", "--data-root", str(tmp_path))
    assert row["was_here"] and row["licence"] == "CC BY-NC-SA 4.0"
    assert call("--download", "digits") == 0
    assert "was here already. Licence: CC BY 4.0." in capsys.readouterr().out


def test_a_check_looks_inside_of_a_region(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    """A flag that is taken and does nothing: photos that differ in a corner alone are copies without it."""
    pixels = np.array(Image.open(folder / "good" / "03.png"))
    pixels[:, 20:] = 255 - pixels[:, 20:]
    Image.fromarray(pixels).save(folder / "bad" / "03.png")
    marked = np.zeros((32, 32), np.uint8)
    marked[:, :20] = 255
    Image.fromarray(marked).save(tmp_path / "roi.png")
    own = ("--check", f"folder:{folder}")
    assert not {"in_both", "contradicted"} & {found["kind"] for found in printed(capsys, *own)["findings"]}
    told = printed(capsys, *own, "--roi", str(tmp_path / "roi.png"), code=1)
    assert {"in_both", "contradicted", "repeated"} & {found["kind"] for found in told["findings"]}
    assert "is a folder" in sentence(capsys, *own, "--roi", str(tmp_path))
