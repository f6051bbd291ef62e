"""`verify`: a result that cannot be computed again is not a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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


SPOILT = ["a gallery", "a bank", "the threshold's scores", "one of them fewer"]


@pytest.mark.parametrize("what", SPOILT)
def test_what_judges_new_images_is_looked_at(
    tiny: Callable[..., RunConfig],
    spot: Callable[..., RunConfig],
    finish: Callable[..., Any],
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """ "Equal" for a run whose test scores are right, and whose bank, gallery or threshold judges otherwise."""
    folder, _ = finish(spot() if what == "a bank" else tiny(recipe="frozen", steps=None))
    assert verify(folder.path, capsys)[0] == 0
    if what in ("a gallery", "a bank"):
        file, name = (folder.gallery(0), "features") if what == "a gallery" else (folder.bank(0), "0.features")
        tensors = read_tensors(file)
        write_tensors(file, {**tensors, name: tensors[name] * 1.05})
    else:
        record = json.loads(folder.calibration_file.read_text())
        record["scores"] = record["scores"][1:] if "fewer" in what else [score / 2 for score in record["scores"]]
        folder.calibration_file.write_text(json.dumps(record))
    code, said = verify(folder.path, capsys)
    assert code == 1 and said["equal"] is said["bit_for_bit"] is False
    main(["verify", str(folder.path)])
    told = "scores of its detector" if what in ("a gallery", "a bank") else "scores that set the threshold"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("what", SPOILT[:3])
def test_numbers_that_are_none_judge_nothing(
    tiny: Callable[..., RunConfig],
    spot: Callable[..., RunConfig],
    finish: Callable[..., Any],
    what: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """ "normal" for every image, since no score is higher than one that is no number."""
    folder, _ = finish(spot() if what == "a bank" else tiny(recipe="frozen", steps=None))
    if what == "the threshold's scores":
        record = json.loads(folder.calibration_file.read_text())
        folder.calibration_file.write_text(json.dumps({**record, "scores": [float("nan")] * len(record["scores"])}))
    else:
        file, name = (folder.gallery(0), "features") if what == "a gallery" else (folder.bank(0), "0.features")
        tensors = read_tensors(file)
        tensors[name][0, 0] = float("nan")
        write_tensors(file, tensors)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    assert main(["score", str(folder.path), str(tmp_path / "a.png")]) == 1
    assert "finite" in capsys.readouterr().err
