"""`verify`: a result that cannot be computed again is not a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig
from panda_core.cli import main
from panda_core.methods.table import RECIPES
from panda_core.records import read_arrays, write_arrays
from panda_core.runs.recorded import unpacked
from panda_core.runs.tensors import read_tensors, write_tensors

RECORDED = Path(__file__).resolve().parents[2] / "assets" / "recorded"


def verify(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["verify", str(path), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_verifies_bit_for_bit(
    tiny: Callable[..., RunConfig], finish: Callable[..., Any], recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stop rule, space or checkpoint that was not saved as it was used."""
    config = tiny(recipe=recipe, feature_norm="whiten", steps=4 if RECIPES[recipe].steps else None)
    folder, _ = finish(config)
    code, said = verify(folder.path, capsys)
    assert (code, said) == (0, {"run": folder.run_id, "equal": True, "bit_for_bit": True, "largest_difference": 0.0})


def test_the_bundled_network_verifies(digits_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for the real network."""
    assert main(["verify", str(digits_run)]) == 0
    assert capsys.readouterr().out == "Equal: 40 scores, bit for bit.\n"


def test_the_recorded_maps_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording whose maps this version would not draw: it was made before the space of patches was changed."""
    code, said = verify(unpacked(RECORDED, tmp_path) / "segment-elpv-mono", capsys)
    assert code == 0 and said["equal"], said


@pytest.mark.parametrize("what", ["a score", "NaN", "fewer scores", "weights"])
def test_tampering_is_noticed(own_run: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """ "Equal" for a result that somebody improved."""
    final = read_arrays(own_run / "arrays" / "final.npz")
    if what == "a score":
        final["scores"][3] *= 1.01
    elif what == "NaN":
        final["scores"][3] = np.nan
    elif what == "fewer scores":
        final["scores"] = final["scores"][:-1]
    else:
        path = own_run / "checkpoints" / "000004.safetensors"
        write_tensors(path, {name: value * 1.01 for name, value in read_tensors(path).items()})
    write_arrays(own_run / "arrays" / "final.npz", final)
    if what == "fewer scores":
        assert main(["verify", str(own_run)]) == 1
        assert "Not equal: 39 recorded scores, 40 recomputed" in capsys.readouterr().err
        return
    code, said = verify(own_run, capsys)
    assert code == 1 and said["equal"] is False
    assert main(["verify", str(own_run)]) == 1
    assert capsys.readouterr().out.startswith("Not equal")
