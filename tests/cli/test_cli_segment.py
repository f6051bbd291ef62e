"""Maps from the command line: `segment`, `score --maps`, and the process that looks at images for the app."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import load_run, worker
from panda_core.cli import main
from panda_core.cli.map_files import COLUMNS, check_target, plain_cell, write_maps
from panda_core.errors import UsageError
from panda_core.figures.heatmaps import Scale

Capture = pytest.CaptureFixture[str]
SMALL = ("--normal-class", "3", "--image-size", "32", "--train-limit", "12", "--test-limit", "8")


@pytest.fixture
def segment(tiny_backbone: str, capsys: Capture) -> Callable[..., tuple[int, str, str]]:
    """Return a function (flags...) -> (exit code, stdout, stderr) of `segment` with the tiny network."""

    def call(*flags: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["segment", "--backbone", tiny_backbone, "--dataset", "synthetic:digits", *SMALL, *flags])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def the_run(segment: Callable[..., Any], tmp_path: Path) -> Path:
    """Return the folder of a finished segmentation run."""
    assert segment("--json")[0] == 0
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of three readable images, one called like a formula, and one that is text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("=1+1.png", "a.png", "b.jpg"):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_text("text")
    return folder


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_segment_prints_its_events_and_nothing_else(segment: Callable[..., Any], tmp_path: Path) -> None:
    """A table between the lines of JSON; lines that are not those of the log."""
    code, out, err = segment("--json")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert [events[0]["event"], *(event["event"] for event in events[-2:])] == [
        "RunStarted",
        "SegmentationEvaluated",
        "RunFinished",
    ]
    assert events[0]["config"]["recipe"] == "patchcore"
    (folder,) = (tmp_path / "runs").iterdir()
    assert [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()] == events


def test_segment_for_people(segment: Callable[..., Any], tmp_path: Path, capsys: Capture) -> None:
    """A result without its numbers, or without the folder it lies in; a count of "all" that is of something else."""
    code, out, _ = segment("--recipe", "spade")
    assert code == 0 and "AUPRO" in out and "Run folder: " in out
    (folder,) = (tmp_path / "runs").iterdir()
    kinds = load_run(folder).metrics["kinds"]  # type: ignore[index]
    assert kinds and all(kind in out for kind in kinds)
    (count,) = re.findall(r"all +│ +(\d+) +│", out)
    assert int(count) == sum(load_run(folder).split.is_anomaly)
    assert main(["show", str(folder)]) == 0
    assert "AUPRO" in capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["recipe"], row["state"], row["problem"]) == ("spade", "finished", "") and row["auroc"] is not None


@pytest.mark.parametrize("target", ["maps", "deep/maps.zip"])
def test_segment_writes_the_maps_of_the_test_images(segment: Callable[..., Any], tmp_path: Path, target: str) -> None:
    """Maps under other images' names, other maps than the run's, or an archive that is half there."""
    place = tmp_path / target
    assert segment("--json", "--maps", str(place))[0] == 0
    if place.suffix == ".zip":
        with zipfile.ZipFile(place) as archive:
            assert archive.testzip() is None
            files = {name: archive.read(name) for name in archive.namelist()}
    else:
        files = {path.name: path.read_bytes() for path in place.iterdir()}
    assert set(files) == {"maps.csv", *(f"{row:05d}.{kind}" for row in range(8) for kind in ("png", "npy"))}
    (folder,) = (tmp_path / "runs").iterdir()
    loaded = load_run(folder)
    images = loaded.images("test")
    maps = loaded.detector().anomaly_maps([images.load(row) for row in range(8)])
    for row, line in enumerate(table(files["maps.csv"])):
        assert (line["file"], line["name"]) == (f"{row:05d}", images.names[row])
        assert float(line["score"]) == pytest.approx(float(loaded.arrays(0).scores[row]), rel=1e-5)
        values = np.load(io.BytesIO(files[f"{row:05d}.npy"]))
        np.testing.assert_allclose(values, maps[row], rtol=1e-4, atol=1e-5)
        assert float(line["highest"]) == pytest.approx(float(values.max()), rel=1e-5)
        assert line["verdict"] == loaded.calibration.verdict(float(line["score"]))
        with Image.open(io.BytesIO(files[f"{row:05d}.png"])) as picture:
            assert picture.mode == "RGB" and min(picture.size) > 0
    assert not list(tmp_path.rglob("*.panda-part"))


@pytest.mark.parametrize("form", ["bundle", "bundle.zip"])
def test_a_bundle_scores_and_maps_as_its_run(
    the_run: Path, photos: Path, tmp_path: Path, capsys: Capture, form: str
) -> None:
    """Other scores, maps, colours or verdicts from the file that was taken away than from the run."""
    capsys.readouterr()
    assert main(["export", str(the_run), str(tmp_path / form), "--format", "bundle"]) == 0
    said = []
    for name, source in (("run", the_run), ("bundle", tmp_path / form)):
        capsys.readouterr()
        flags = ["--json", "--maps", str(tmp_path / f"maps of the {name}"), "--false-alarm-rate", "0.2"]
        assert main(["score", str(source), str(photos), *flags]) == 0
        said.append(json.loads(capsys.readouterr().out))
        if name == "run":
            the_run.rename(tmp_path / "gone")
    assert said[0] == said[1] and len(said[0]) == 4
    of_run, of_bundle = (sorted((tmp_path / f"maps of the {name}").iterdir()) for name in ("run", "bundle"))
    assert [path.name for path in of_run] == [path.name for path in of_bundle] and len(of_run) == 7
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(of_run, of_bundle, strict=True))


def test_what_is_there_is_never_overwritten(
    segment: Callable[..., Any], the_run: Path, photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Somebody's folder filled with pictures, or their archive replaced; found out only after the run."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    (tmp_path / "old.zip").write_text("an archive")
    for place, reason in (("full", "not an empty folder"), ("full/thesis.txt", "not an empty"), ("old.zip", "exists")):
        target = str(tmp_path / place)
        code, out, err = segment("--maps", target)
        assert (code, out) == (2, "") and reason in err and "--maps" in err and len(err.splitlines()) == 1
        assert main(["score", str(the_run), str(photos), "--maps", target]) == 2
        assert reason in capsys.readouterr().err
    assert len(list((tmp_path / "runs").iterdir())) == 1, "no run was started"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")


def test_score_writes_maps_of_new_images(the_run: Path, photos: Path, tmp_path: Path, capsys: Capture) -> None:
    """An unreadable file that shifts all later names; a formula in the table; scores unlike those printed."""
    capsys.readouterr()
    assert main(["score", str(the_run), str(photos), "--json", "--maps", str(tmp_path / "maps")]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == 4 and [path for path, row in rows.items() if row["score"] is None] == [
        str(photos / "broken.png")
    ]
    lines = table((tmp_path / "maps" / "maps.csv").read_bytes())
    assert [line["name"] for line in lines] == [str(photos / name) for name in ("=1+1.png", "a.png", "b.jpg")]
    for line in lines:
        assert float(line["score"]) == pytest.approx(rows[line["name"]]["score"], rel=1e-4)
        values = np.load(tmp_path / "maps" / f"{line['file']}.npy")
        np.testing.assert_allclose(values, load_run(the_run).detector().anomaly_maps([line["name"]])[0], rtol=1e-4)


def test_an_adaptation_writes_no_maps(digits_run: Path, photos: Path, tmp_path: Path, capsys: Capture) -> None:
    """A traceback, or an empty folder, for a run whose recipe has no maps."""
    assert main(["score", str(digits_run), str(photos), "--maps", str(tmp_path / "maps")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "has no maps" in said and "--recipe patchcore" in said
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize("flags", [["--recipe", "panda-ses"], ["--recipe", "spad"], ["--steps", "3"], ["--lr", "1"]])
def test_segment_refuses_what_adapts(segment: Callable[..., Any], tmp_path: Path, flags: list[str]) -> None:
    """A recipe that adapts run under `segment`, or a flag that has no effect."""
    try:
        code, out, err = segment(*flags)
        assert out == "" and len(err.splitlines()) == 1 and flags[-1] in err
    except SystemExit as end:  # a flag that this command does not have
        code = int(end.code or 0)
    assert code == 2 and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["=1+1.png", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_name_never_starts_a_formula(name: str, tmp_path: Path) -> None:
    """A file name that a spreadsheet runs."""
    image, values = np.zeros((4, 6, 3), np.uint8), np.ones((8, 8), np.float32)
    items = iter([(name, image, values, 2.0)])
    assert write_maps(tmp_path / "maps", items, Scale(0, 1, 2), lambda score: f"of {score}") == 1
    (line,) = table((tmp_path / "maps" / "maps.csv").read_bytes())
    assert tuple(line) == COLUMNS and line["name"] == "'" + name == plain_cell(name)
    assert line["verdict"] == "of 2.0" and plain_cell("a=1.png") == "a=1.png"


def test_an_archive_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Half an archive under its final name after an image that failed."""

    def items() -> Any:
        yield "a", np.zeros((4, 6, 3), np.uint8), np.ones((8, 8), np.float32), 2.0
        raise UsageError("the second image is gone")

    with pytest.raises(UsageError):
        write_maps(tmp_path / "maps.zip", items(), Scale(0, 1, 2), lambda score: "normal")
    assert list(tmp_path.iterdir()) == []


def test_the_apps_process_writes_maps_and_rows(the_run: Path, photos: Path, tmp_path: Path) -> None:
    """Rows of other maps than theirs; one unreadable file that ends the check."""
    assert worker.check(the_run, photos, tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    with np.load(tmp_path / "out" / "maps.npz") as archive:
        arrays = dict(archive)
    rows = {row["path"]: row for row in result["rows"]}
    assert result["error"] == "" and set(rows) == {"=1+1.png", "a.png", "b.jpg", "broken.png"}
    broken = rows.pop("broken.png")
    assert broken["verdict"].startswith("unreadable: ") and broken["map_row"] is None and broken["score"] is None
    detector = load_run(the_run).detector()
    said = detector.segment([photos / name for name in rows])
    for place, (name, row) in enumerate(rows.items()):
        assert arrays["names"][row["map_row"]] == name
        np.testing.assert_allclose(arrays["grids"][row["map_row"]], said.grids[place], rtol=1e-4)
        assert row["score"] == pytest.approx(float(said.scores[place]), rel=1e-4)
        assert row["peak"] == pytest.approx(float(detector.anomaly_maps([photos / name]).max()), rel=1e-4)
        assert 0 <= row["percentile"] <= 100
        threshold = load_run(the_run).metrics["score_threshold"]  # type: ignore[index]
        assert row["verdict"] == ("anomalous" if row["score"] > threshold else "normal")
    assert {f"{kind}_{group}" for kind in ("distances", "origins") for group in (0, 1)} <= set(arrays)


def test_the_apps_process_scores_with_an_adapted_network(digits_run: Path, photos: Path, tmp_path: Path) -> None:
    """A check that only knows maps; scores unlike the detector's; a page that cannot tell how far it is."""
    assert worker.check(digits_run, photos, tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    rows = {row["path"]: row for row in result["rows"]}
    assert result["error"] == "" and list(rows) == ["=1+1.png", "a.png", "b.jpg", "broken.png"]
    assert json.loads((tmp_path / "out" / "progress.json").read_text())["total"] == 4
    assert rows["broken.png"]["verdict"].startswith("unreadable: ") and rows.pop("broken.png")["score"] is None
    detector = load_run(digits_run).detector()
    scores = detector.anomaly_scores([photos / name for name in rows])
    np.testing.assert_allclose([row["score"] for row in rows.values()], scores, rtol=1e-4)
    threshold = detector.threshold()
    assert [row["verdict"] == "anomalous" for row in rows.values()] == [bool(score > threshold) for score in scores]
    assert not (tmp_path / "out" / "maps.npz").exists()


@pytest.mark.parametrize("kind", ["maps", "scores", "nothing"])
def test_the_apps_process_answers_image_by_image(
    kind: str, the_run: Path, digits_run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A painted image that is compared by other rules than a file; a page that waits for one that cannot be."""
    run = {"maps": the_run, "scores": digits_run, "nothing": tmp_path / "nothing"}[kind]
    image = np.random.default_rng(3).integers(0, 255, (40, 52, 3), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    asked = [[str(tmp_path / "image.npy"), str(tmp_path / f"answer {number}.npz")] for number in range(2)]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(one) + "\n" for one in asked)))
    assert worker.compare(run) == 0
    first, second = (dict(np.load(answer)) for _, answer in asked)
    assert first["score"] == second["score"] and np.array_equal(first["grid"], second["grid"])
    if kind == "nothing":
        assert "config" in str(first["error"])
        return
    detector = load_run(run).detector()
    assert str(first["error"]) == "" and first["score"] == pytest.approx(float(detector.anomaly_scores([image])[0]))
    if kind == "maps":
        np.testing.assert_allclose(first["grid"], detector.segment([image]).grids[0], rtol=1e-5)
    else:
        assert first["grid"].size == 0


def test_the_apps_process_says_why_it_cannot(the_run: Path, photos: Path, tmp_path: Path) -> None:
    """A page that waits for ever for a process that has died without a word."""

    def error(run: Path, images: Path, code: int) -> str:
        assert worker.check(run, images, tmp_path / "out") == code
        result = json.loads((tmp_path / "out" / "result.json").read_text())
        assert result["rows"] == []
        return str(result["error"])

    assert error(tmp_path / "nothing", photos, 1)
    (tmp_path / "empty").mkdir()
    assert error(the_run, tmp_path / "empty", 0) == "There are no images to look at."
    shutil.rmtree(the_run / "banks")
    assert "no detector" in error(the_run, photos, 1)
