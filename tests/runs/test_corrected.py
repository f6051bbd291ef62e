"""Corrections of a run: accepted images are learned from, rejected ones measure, and a kill costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, load_bundle, load_run, worker
from panda_core.cli import main
from panda_core.errors import BrokenRun, UnreadableImage, UsageError
from panda_core.events import Event
from panda_core.runs import corrected
from panda_core.runs.corrected import correct_run, corrections_of, undo
from panda_core.runs.folder import RunFolder, list_runs

Capture = pytest.CaptureFixture[str]


def picture(path: Path, seed: int, level: int = 60) -> Path:
    """Write a picture whose brightness is near `level`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(level - 20, level + 20, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    for seed in range(30):
        picture(folder / "good" / f"{seed:02d}.png", seed)
    for seed in range(3):
        picture(folder / "scratched" / f"{seed}.png", 50 + seed, 200)
        picture(folder / "ground_truth" / "scratched" / f"{seed}_mask.png", 0, 60)
    mask = Image.fromarray(np.kron([[0, 255], [0, 0]], np.ones((12, 12))).astype(np.uint8))
    for path in (folder / "ground_truth").rglob("*.png"):
        mask.save(path)
    return folder


@pytest.fixture
def learn(finish: Callable[..., Any], tiny: Callable[..., RunConfig], parts: Path) -> Callable[..., RunFolder]:
    """Return a function (fields to change...) -> the folder of a run on `parts`."""

    def call(**changes: Any) -> RunFolder:
        given = {"recipe": "frozen", "steps": None, "eval_every": None, "lr": None, "batch_size": None}
        fields = {
            **given,
            "dataset": f"folder:{parts}",
            "normal_class": "good",
            "train_limit": None,
            "test_limit": None,
        }
        folder: RunFolder = finish(tiny(**{**fields, **changes}))[0]
        return folder

    return call


def kinds(folder: RunFolder) -> tuple[list[str], list[str]]:
    """Return the names of the images that a run learned from, and of those that are anomalous in its test set."""
    split = load_run(folder.path).split
    anomalous = [name for name, is_anomaly in zip(split.test, split.is_anomaly, strict=True) if is_anomaly]
    return split.train, anomalous


def correct(folder: RunFolder, *files: Path, accept: bool = True) -> list[Event]:
    return list(correct_run(folder, files, accept=accept))


@pytest.mark.parametrize("recipe", ["frozen", "patchcore"])
def test_accepted_are_learned_from_and_rejected_measure(
    learn: Callable[..., RunFolder], parts: Path, tmp_path: Path, recipe: str
) -> None:
    """A correction without effect; one that trains on a defect; a run that is written over; masks of other images."""
    folder = learn(recipe=recipe)
    content = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    before = load_run(folder.path).detector()
    new = [picture(tmp_path / f"new {seed}.png", 80 + seed, 150) for seed in range(4)]
    bad = picture(tmp_path / "bad.png", 99, 220)
    correct(folder, *new)
    correct(folder, bad, accept=False)
    train, anomalous = kinds(folder)
    assert sorted(name.partition(" ")[2] for name in train if name.startswith("accepted/")) == [
        f"new {seed}.png" for seed in range(4)
    ]
    assert [name for name in anomalous if name.startswith("rejected/")] and len(anomalous) == 4
    assert all(content[path] == path.read_bytes() for path in content)
    loaded = load_run(folder.path)
    after = loaded.detector()
    assert after.percentiles(after.anomaly_scores(new)).mean() < before.percentiles(before.anomaly_scores(new)).mean()
    assert after.calibration.images > before.calibration.images and (loaded.metrics or {})["auroc"] is not None
    if recipe == "patchcore":
        assert np.isnan(loaded.patch_arrays(0).scores).sum() == 0
        assert loaded.split.has_mask is not None and sum(loaded.split.has_mask) >= 3
    assert main(["verify", str(folder.path)]) == 0
    assert [run.run_id for run in list_runs(folder.path.parent)] == [folder.run_id]


def test_the_last_word_on_an_image_counts(learn: Callable[..., RunFolder], parts: Path, tmp_path: Path) -> None:
    """An image that is normal and anomalous at once; a bad one among the normals that stays there."""
    folder = learn()
    bad, fine = parts / "good" / "03.png", parts / "scratched" / "1.png"
    correct(folder, bad, accept=False)
    train, anomalous = kinds(folder)
    assert "good/03.png" not in train and len(anomalous) == 4
    correct(folder, fine)
    train, anomalous = kinds(folder)
    assert "scratched/1.png" not in anomalous and any(name.endswith(" 1.png") for name in train)
    correct(folder, bad)
    train, anomalous = kinds(folder)
    assert len(anomalous) == 2 and sum(name.startswith("accepted/") for name in train) == 2


@pytest.mark.parametrize("form", ["bmp", "jpg"])
def test_a_copy_saved_anew_is_the_same_image(
    learn: Callable[..., RunFolder], parts: Path, tmp_path: Path, form: str
) -> None:
    """A bad image that is rejected, and is still learned from, since it was handed over in another format."""
    smooth = np.kron(np.random.default_rng(3).integers(40, 80, (3, 3)), np.ones((8, 8))).astype(np.uint8)
    Image.fromarray(smooth).save(parts / "good" / "03.png")
    folder = learn()
    anew = tmp_path / f"anew.{form}"
    Image.open(parts / "good" / "03.png").save(anew, quality=95)
    correct(folder, anew, accept=False)
    train, anomalous = kinds(folder)
    assert "good/03.png" not in train and len(anomalous) == 4
    correct(folder, picture(tmp_path / "further.png", 70, 150))
    assert "good/03.png" not in kinds(folder)[0]
    correct(folder, parts / "good" / "03.png")  # the last word on it, which is an image of the folder all the same
    train, anomalous = kinds(folder)
    assert [name for name in train if "03.png" in name or "anew" in name] == [
        name for name in train if name.startswith("accepted/") and name.endswith(" 03.png")
    ]
    assert len(anomalous) == 3
    for _ in range(3):
        undo(folder)
    assert "good/03.png" in kinds(folder)[0]


def test_a_correction_is_taken_back(learn: Callable[..., RunFolder], tmp_path: Path) -> None:
    """An undo that leaves something of the correction, or that takes back more than the last one."""
    folder = learn()
    original = load_run(folder.path).detector().calibration.to_json()
    said = []
    for seed in (1, 2):
        correct(folder, picture(tmp_path / f"{seed}.png", 80 + seed, 150))
        said.append(load_run(folder.path).calibration.to_json())
    assert [one.number for one in corrections_of(folder)] == [1, 2]
    assert undo(folder).number == 2 and load_run(folder.path).calibration.to_json() == said[0]
    correct(folder, picture(tmp_path / "3.png", 83, 150))
    assert [one.number for one in corrections_of(folder)] == [1, 3]
    train, _ = kinds(folder)
    assert [name.partition(" ")[2] for name in train if name.startswith("accepted/")].count("2.png") == 0
    assert [undo(folder).number for _ in range(2)] == [3, 1]
    assert load_run(folder.path).run_id == folder.run_id
    assert load_run(folder.path).detector().calibration.to_json() == original
    with pytest.raises(UsageError, match="no correction"):
        undo(folder)


@pytest.mark.parametrize("moment", [0, 1, 2, 4])
def test_cut_short_nothing_has_changed(learn: Callable[..., RunFolder], tmp_path: Path, moment: int) -> None:
    """A run that is half corrected after a kill, or that can no longer be corrected."""
    folder = learn()
    original = load_run(folder.path).calibration.to_json()
    events = iter(correct_run(folder, [picture(tmp_path / "a.png", 80, 150)], accept=True))
    for _ in range(moment):
        next(events)
    assert load_run(folder.path).run_id == folder.run_id  # while it learns
    del events
    assert corrections_of(folder) == [] and load_run(folder.path).calibration.to_json() == original
    correct(folder, picture(tmp_path / "b.png", 81, 150))
    assert len(corrections_of(folder)) == 1 and load_run(folder.path).run_id != folder.run_id
    assert len(list((folder.path / corrected.FOLDER).iterdir())) == 1  # what was cut short is gone


def test_what_cannot_be_corrected(
    learn: Callable[..., RunFolder],
    finish: Callable[..., Any],
    tiny: Callable[..., RunConfig],
    parts: Path,
    tmp_path: Path,
) -> None:
    """Corrections that are lost among images drawn anew; a file that is no image; images that are no longer those."""
    folder, image = learn(), picture(tmp_path / "a.png", 80)
    other = finish(tiny(recipe="frozen", steps=None, eval_every=None, lr=None))[0]
    with pytest.raises(UsageError, match="for runs on `folder:PATH`"):
        correct(other, image)
    with pytest.raises(UsageError, match="without `--train-limit`"):
        correct(learn(train_limit=10), image)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(UnreadableImage, match=r"text\.png"):
        correct(folder, image, tmp_path / "text.png")
    with folder.lock(), pytest.raises(UsageError, match="another process"):
        correct(RunFolder(folder.path), image)
    picture(parts / "good" / "05.png", 77)
    with pytest.raises(BrokenRun, match="have changed"):
        correct(folder, image)
    assert corrections_of(folder) == [] and not (folder.path / corrected.FOLDER).exists()


def test_on_the_command_line(learn: Callable[..., RunFolder], tmp_path: Path, capsys: Capture) -> None:
    """A flag between the run and its images that loses them; a correction of which `score` and `show` know nothing."""
    folder = learn()
    new = [picture(tmp_path / "new" / f"{seed}.png", 80 + seed, 150) for seed in range(3)]
    assert main(["accept", str(folder.path), "--json", str(new[0].parent)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {row["path"] for row in said["images"]} == {str(path) for path in new} and said["corrections"] == 1
    assert said["calibration"] == load_run(folder.path).calibration.summary() != said["before"]
    assert main(["score", str(folder.path), str(new[0]), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["score"] == pytest.approx(next(one["score"] for one in said["images"] if one["path"] == row["path"]))
    assert main(["show", str(folder.path)]) == 0
    assert "3 accepted" in capsys.readouterr().out
    assert main(["reject", str(folder.path), str(new[0])]) == 0
    assert "verdict now" in capsys.readouterr().out
    assert main(["accept", str(folder.path), "--undo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corrections"] == 1
    assert main(["accept", str(folder.path), str(new[0]), "--undo"]) == 2
    assert "--undo" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["accept", str(folder.path)])
    assert "PATH" in capsys.readouterr().err


def test_what_the_app_writes_is_what_export_writes(
    learn: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    """A detector that is downloaded as it was before its corrections, beside an exported one that has them."""
    folder = learn()
    before = load_run(folder.path).detector().calibration.to_json()
    correct(folder, picture(tmp_path / "new.png", 80, 150))
    assert worker.bundle(folder.path, tmp_path / "app.zip") == 0
    assert main(["export", str(folder.path), str(tmp_path / "cli.zip"), "--format", "bundle"]) == 0
    app, cli = (load_bundle(tmp_path / name).calibration.to_json() for name in ("app.zip", "cli.zip"))
    assert app == cli == load_run(folder.path).detector().calibration.to_json() != before
