"""Folders that were damaged, or come from somebody else: one sentence, never a traceback, never foreign code."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from panda_core import BrokenRun, PandaError, load_run
from panda_core.cli import main
from panda_core.runs.kinds import recompute
from panda_core.runs.tensors import read_tensors

IMAGES = [np.zeros((8, 8, 3), np.uint8)]
TENSORS = ("checkpoints/000004.safetensors", "galleries/000004.safetensors", "space.safetensors")


def change_config(path: Path, **fields: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path / "config.json", 100),
        lambda path: os.truncate(path / "config.json", 0),
        lambda path: (path / "config.json").write_text("[1, 2]"),
        lambda path: (path / "config.json").write_text("null"),
        lambda path: (path / "config.json").write_bytes(b"\xff\xfe\x00"),
        lambda path: change_config(path, batch_sizes=3),
        lambda path: change_config(path, lr="fast"),
        lambda path: change_config(path, dataset=None),
        lambda path: change_config(path, set=[1]),
    ],
)
def test_a_config_that_cannot_be_read(
    own_run: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback, or a field of a later version dropped in silence; and a list of runs that fails for one of them."""
    damage(own_run)
    with pytest.raises(BrokenRun, match="has no readable config"):
        _ = load_run(own_run).config
    assert main(["show", str(own_run)]) == 1
    assert capsys.readouterr().err.startswith("panda_core: Run")
    assert main(["list", "--json", "--runs-dir", str(own_run.parent)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "broken" and "no readable config" in row["problem"]


@pytest.mark.parametrize(
    "line", ['{"event": "Evaluated"}', "no json", '{"event": "RunFinished", "time": 1.0}', "\x00\x00\x00"]
)
def test_a_log_that_cannot_be_read(own_run: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged line taken for the end of the log, or a traceback."""
    lines = (own_run / "events.jsonl").read_text().splitlines()
    (own_run / "events.jsonl").write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    with pytest.raises(PandaError):
        load_run(own_run).events()
    assert main(["show", str(own_run)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["list", "--json", "--runs-dir", str(own_run.parent)]) == 0


def other_tensors(**changes: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], object]:
    """Return a damage that maps each tensor of a file with the only function given."""
    (change,) = changes.values()

    def damage(path: Path) -> None:
        tensors = {name: change(value) for name, value in read_tensors(path).items()}
        path.write_bytes(save({name: value.contiguous() for name, value in tensors.items() if value is not None}))

    return damage


def lose_one(path: Path) -> None:
    tensors = read_tensors(path)
    tensors.pop(sorted(tensors)[0])
    path.write_bytes(save(tensors))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: os.truncate(path, 0),
    "cut in the header": lambda path: os.truncate(path, 30),
    "cut in the values": lambda path: os.truncate(path, path.stat().st_size - 5),
    "one tensor lost": lose_one,
    "all tensors lost": lambda path: path.write_bytes(save({})),
    "other shapes": other_tensors(change=lambda value: value.flatten()[: value.numel() // 2 + 1]),
    "NaN": other_tensors(change=lambda value: value * float("nan")),
    "another type": other_tensors(change=lambda value: value.to(torch.int32)),
    "header too long": lambda path: path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:]),
}


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damaged_tensors_are_never_scored_with(own_run: Path, name: str, damage: str) -> None:
    """Scores of a half-loaded network, which look like any others; or a traceback of torch."""
    DAMAGES[damage](own_run / name)
    with pytest.raises(PandaError):
        load_run(own_run).detector().anomaly_scores(IMAGES)


def test_a_flipped_bit_is_an_error_or_a_difference(own_run: Path) -> None:
    """A header with one bit flipped that crashes the reader. (A bit of the values shows in `verify`.)"""
    path = own_run / "checkpoints" / "000004.safetensors"
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for place in rng.choice(2000, 60, replace=False):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            read_tensors(path)
        except BrokenRun as error:
            assert "000004.safetensors" in str(error)
            refused += 1
    assert 0 < refused < 60  # some of both: a flip in a name or a shape, and one in a space between


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", [*TENSORS, "arrays/final.npz", "arrays/000004.npz"])
@pytest.mark.parametrize("form", ["pickle", "torch", "numpy"])
def test_a_pickle_never_runs(own_run: Path, tmp_path: Path, name: str, form: str) -> None:
    """Code of a stranger run by opening a run that he shares."""
    canary = tmp_path / "canary"
    path = own_run / name
    if form == "pickle":
        path.write_bytes(pickle.dumps(Canary(canary)))
    elif form == "torch":
        torch.save({"features": Canary(canary)}, path)
    else:
        with open(path, "wb") as file:
            np.savez(file, scores=np.array([Canary(canary)], dtype=object))
    with pytest.raises(PandaError):
        loaded = load_run(own_run)
        loaded.final()
        loaded.arrays(4)
        loaded.detector().anomaly_scores(IMAGES)
    assert not canary.exists()


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 60), lambda path: path.unlink()])
def test_damaged_arrays_are_one_sentence(own_run: Path, damage: Callable[[Path], object]) -> None:
    """A traceback of zip for a run whose result was cut off."""
    damage(own_run / "arrays" / "final.npz")
    with pytest.raises(PandaError, match=r"final\.npz"):
        load_run(own_run).final()
    assert main(["verify", str(own_run)]) == 1


def test_a_missing_checkpoint_cannot_be_verified(own_run: Path) -> None:
    """ "Equal", or a traceback, for a run whose weights are gone."""
    (own_run / "checkpoints" / "000004.safetensors").unlink()
    with pytest.raises(BrokenRun, match="000004"):
        recompute(load_run(own_run))


def test_an_unfinished_run_says_so(own_run: Path) -> None:
    """A detector of a run that has no checkpoint; a verification of one that has no result."""
    lines = (own_run / "events.jsonl").read_text().splitlines(keepends=True)
    (own_run / "events.jsonl").write_text(lines[0])
    with pytest.raises(BrokenRun, match="no checkpoint yet"):
        load_run(own_run).detector()
    with pytest.raises(BrokenRun, match="not finished"):
        recompute(load_run(own_run))
