"""The Own images page: dropped, understood, learned from, scored; reachable by address alone."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import pickle
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.records import write_arrays, write_json
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.uploads import Upload, keep_upload


def png(seed: int) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 30, 3), dtype=np.uint8)).save(held, "PNG")
    return held.getvalue()


def uploaded(role: str, names: list[str]) -> Upload:
    return keep_upload([(role, name, io.BytesIO(png(place))) for place, name in enumerate(names)])


def drop(at: Any, key: str, files: list[tuple[str, bytes]]) -> Any:
    return at.file_uploader(key=key).set_value([(name, content, "image/png") for name, content in files]).run()


def zipped(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def words(at: Any) -> str:
    return " ".join(
        str(one.value) for kind in ("markdown", "caption", "warning", "error", "info") for one in at.get(kind)
    )


def test_dropped_images_are_understood_then_learned_from(open_page: Any, runs_dir: Path) -> None:
    """A bad file that stops the good ones; a run on other images than those shown; a name shown as markup."""
    at = open_page("own_images")
    assert at.button(key="own-read").disabled
    drop(
        at, "own_images", [*((f"*{row}*.png", png(row)) for row in range(9)), ("<b>.png", b"no"), ("copy.png", png(0))]
    )
    at.button(key="own-read").click().run()
    assert not at.exception
    assert [metric.value for metric in at.metric] == ["9", "0", "0", "30 x 24"]
    assert r"\<b\>.png" in words(at) and "copy.png" in words(at)
    at.button(key="own-learn").click().run()
    assert not at.exception
    (made,) = runs_dir.glob("2*")
    config = json.loads((made / "config.json").read_text())
    assert config["recipe"] == "patchcore" and config["dataset"].endswith(f"{at.query_params['upload']}/images")


@pytest.mark.parametrize("field", ["own_images", "own_folder"])
def test_what_the_browser_would_not_have_let_through(field: str, open_page: Any, tmp_path: Path) -> None:
    """A file of another kind, sent past the browser's filter, that is opened as what it says it is."""

    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "canary",)

    content = pickle.dumps(Canary())
    bad = [("model.pkl", content), ("model.png", content), ("run.sh.jpg", b"#!/bin/sh\ntrue"), ("page.svg", b"<svg/>")]
    images = [("a photo", png(0)), *((f"{row}.png", png(row)) for row in range(1, 8))]  # by content, not by name
    at = drop(open_page("own_images"), field, [*images, *bad])
    at.button(key="own-read").click().run()
    assert not at.exception and at.metric[0].value == "8" and not (tmp_path / "canary").exists()
    assert all(name in words(at) for name, _ in bad)
    kept = [path for path in (tmp_path / "runs" / "uploads").rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} == {".png", ".json"} and len(kept) == 8 + 2


def test_a_zip_with_folders_and_the_other_method(open_page: Any, runs_dir: Path) -> None:
    """Anomalies in an archive that are learned as normal; a choice of method without effect."""
    members = {f"good/{row}.png": png(row) for row in range(8)} | {f"bent/{row}.png": png(20 + row) for row in range(2)}
    at = drop(open_page("own_images"), "own_images", [("all.zip", zipped(members))])
    at.button(key="own-read").click().run()
    assert [metric.value for metric in at.metric][:2] == ["8", "2"] and "bent" in words(at)
    at.segmented_control(key="own_method").set_value("Adapt: is the whole image normal").run()
    at.button(key="own-learn").click().run()
    (made,) = runs_dir.glob("2*")
    assert json.loads((made / "config.json").read_text())["recipe"] == "panda-early"


@pytest.mark.parametrize("content", [zipped({"../a.png": png(1)}), b"PK\x03\x04 damaged"])
def test_a_hostile_archive_ends_in_a_sentence(content: bytes, open_page: Any, tmp_path: Path) -> None:
    """A trace of the program's insides, or half an upload that stays."""
    at = drop(open_page("own_images"), "own_images", [("photos.zip", content)])
    at.button(key="own-read").click().run()
    assert not at.exception and len(at.error) == 1 and "photos.zip" in at.error[0].value
    assert list((tmp_path / "runs" / "uploads").iterdir()) == []


def test_too_few_images_cannot_be_learned_from(open_page: Any) -> None:
    """A threshold from three photos."""
    upload = uploaded("normal", ["a", "b", "c"])
    at = open_page("own_images", upload=upload.token)
    assert at.button(key="own-learn").disabled and "8 are needed" in words(at)


def test_nothing_is_listed_without_its_id(open_page: Any, make_maps: Any) -> None:
    """Somebody else's photos or runs on the page of a stranger."""
    upload, folder = uploaded("normal", [f"secret {row}" for row in range(8)]), make_maps()
    at = open_page("own_images")
    told = words(at) + str([one.options for one in at.get("selectbox")])
    assert "secret" not in told and folder.run_id not in told and upload.token not in told
    assert len(open_page("own_images", upload=upload.token).metric) == 4


@pytest.mark.parametrize("token", ["../..", "0" * 32, "%00", "<b>", "a" * 500])
def test_made_up_addresses_are_friendly(token: str, open_page: Any, make_maps: Any) -> None:
    """A made-up address that opens other folders, or an error."""
    at = open_page("own_images", upload=token)
    assert any("no images with the id" in one.value for one in at.warning)
    folder = make_maps()
    (folder.path / "banks").mkdir()
    (folder.path.parent.parent / "result.json").write_text('{"rows": [], "error": "outside"}')
    at = open_page("own_images", run=folder.run_id, check=token)
    assert any("no check" in one.value for one in at.info) and not at.error


def test_an_owner_deletes_images(open_page: Any) -> None:
    """A button that leaves the images where they are."""
    upload = uploaded("normal", ["a"])
    at = open_page("own_images", upload=upload.token)
    at.button(key="own-delete").click().run()
    assert not upload.path.exists() and not at.exception and "upload" not in at.query_params


def checked(folder: Any, names: list[str], values: list[float | None], kind: str) -> tuple[Upload, Path]:
    """Return an upload that a process has judged, one file of it no image, and where it wrote what it found."""
    images = [("checked", name, io.BytesIO(png(place))) for place, name in enumerate(names)]
    upload, out = (
        keep_upload([*images, ("checked", "b.txt", io.BytesIO(b"words"))]),
        folder.path / "checks" / ("c" * 32),
    )
    rows = [
        {"path": f"{place:04d}.png", "score": value, "percentile": 0.0, "verdict": "normal"}
        | ({"peak": value, "map_row": place} if kind == "maps" else {})
        for place, value in enumerate(values)
    ]
    if kind == "maps":
        maps = LoadedRun(folder).maps(0)
        kept = maps.rows(np.arange(len(rows))).by_name()
        write_arrays(out / "maps.npz", kept | {"names": np.array([row["path"] for row in rows])})
    write_json(out / "photos.json", {"upload": upload.token})
    write_json(out / "result.json", {"rows": rows, "error": ""})
    return upload, out


@pytest.mark.parametrize("kind", ["maps", "scores"])
def test_verdicts_follow_the_threshold(kind: str, open_page: Any, make_maps: Any, make_run: Any) -> None:
    """Verdicts at another threshold than the one shown; maps or names of other images."""
    folder = make_maps() if kind == "maps" else make_run()
    (folder.path / ("banks" if kind == "maps" else "checkpoints")).mkdir(exist_ok=True)
    _, out = checked(folder, ["*low*.png", "=high().png"], [0.01, 99.0], kind)
    at = open_page("own_images", run=folder.run_id, check=out.name)
    table = at.dataframe[0].value
    assert list(table["Image"]) == ["=high().png", "*low*.png"] and list(table["Verdict"]) == ["anomalous", "normal"]
    assert "1 of 2 images" in words(at) and "b.txt" in words(at)
    held_out = 20 if kind == "maps" else 2
    assert f"With {held_out} normal images" in words(at) and "between" in words(at)
    assert ("too few to promise" in words(at)) == (held_out < 19)


@pytest.mark.parametrize("kind", ["maps", "scores"])
def test_known_anomalies_say_how_many_are_found(kind: str, open_page: Any, make_maps: Any, make_run: Any) -> None:
    """Anomalies that people dropped to see how well they are found, and hear no more of; a count at 5 % alone."""
    folder = make_maps() if kind == "maps" else make_run()
    (folder.path / ("banks" if kind == "maps" else "checkpoints")).mkdir(exist_ok=True)
    run = LoadedRun(folder)
    scores = run.scores_at(0 if kind == "maps" else "final")[np.array(run.split.is_anomaly) == 1]
    for percent in (5, 50):
        found = int(run.calibration.rejects(scores, percent / 100).sum())
        told = words(open_page("own_images", run=folder.run_id, own_alarms=str(percent)))
        assert f"Of {len(scores)} known anomalous images, **{found}** " in told, percent


def test_learning_shows_how_far_it_is_and_no_empty_curves(open_page: Any, make_run: Any) -> None:
    """Four charts of a test set that photos of one's own do not have; a page without a word while it learns."""
    folder = make_run("running")
    with folder.lock():
        at = open_page("own_images", run=folder.run_id)
    assert not at.get("plotly_chart") and any(link.proto.query_string for link in at.get("page_link"))
    assert "working out the final scores" in str([bar.proto for bar in at.get("progress")]) and at.button(key="stop")


def test_files_to_take_away() -> None:
    """A formula in a spreadsheet; a number or a name that is lost; text that no program can read."""
    from pages.shared.own.files import as_csv, as_json

    rows = [
        {"name": "=1+1.png", "verdict": "anomalous", "score": 2.5, "peak": 3.5, "percentile": 99.0},
        {"name": "@bad.png", "verdict": "unreadable: cut off", "score": None, "percentile": None},
    ]
    (first, second) = csv.DictReader(io.StringIO(as_csv(rows)))
    assert first["name"] == "'=1+1.png" and second["name"] == "'@bad.png" and second["score"] == ""
    assert (first["score"], first["highest_map_value"], first["percentile"]) == ("2.5", "3.5", "99.0")
    told = json.loads(as_json(rows))
    assert told[0]["name"] == "=1+1.png" and told[1]["highest_map_value"] is None


@pytest.mark.parametrize("kind", ["maps", "scores"])
def test_the_detector_can_be_taken_away(kind: str, open_page: Any, make_maps: Any, make_run: Any) -> None:
    """A finished detector without a way to get it, or told of in words that the command line does not take."""
    from panda_core.cli.arguments import parser

    folder = make_maps() if kind == "maps" else make_run()
    (folder.path / ("banks" if kind == "maps" else "checkpoints")).mkdir(exist_ok=True)
    at = open_page("own_images", run=folder.run_id)
    assert not at.button(key="detector").disabled
    terminal, python = (block.value for block in at.code)
    command = terminal.partition(" > ")[0].split()[3:]
    parsed = parser().parse_args(command)
    assert parsed.run == f"{folder.run_id}-detector.zip" and (parsed.maps is not None) == (kind == "maps")
    assert "load_bundle" in python and ("anomaly_maps" in python) == (kind == "maps")
    compile(python, "shown", "exec")


def test_a_detector_is_written_and_then_downloaded(
    open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click that shows nothing for half a minute; a file of each click that stays on the server's disk."""
    from panda_core.runs import launch

    folder, written, goes_on = make_run(), list[Path](), threading.Event()
    (folder.path / "checkpoints").mkdir()

    def write(folder: Any, out: Path) -> None:
        goes_on.wait(30)
        out.write_bytes(b"bundle")
        written.append(out)

    monkeypatch.setattr(launch, "bundle", write)
    at = open_page("own_images", run=folder.run_id)
    at.button(key="detector").click().run()
    assert at.button(key="detector").disabled and at.button(key="detector").label.startswith("Starting")
    goes_on.set()
    writing = at.session_state[f"detector-of-{folder.run_id}"]
    writing.ended.result(30)
    at.run()
    assert [one.proto.label for one in at.get("download_button")] == ["Download detector"]
    assert writing.file.read_bytes() == b"bundle"
    writing.folder.cleanup()  # as the end of the session does
    assert not written[0].parent.exists()


def test_why_there_is_no_detector_is_told(open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that fails in silence while something computes."""
    from panda_core.errors import PandaError
    from panda_core.runs import launch

    def fail(folder: Any, out: Path) -> None:
        raise PandaError("The bundle took over 120 s.")

    monkeypatch.setattr(launch, "bundle", fail)
    folder = make_run()
    (folder.path / "checkpoints").mkdir()
    at = open_page("own_images", run=folder.run_id)
    at.button(key="detector").click().run()
    with contextlib.suppress(PandaError):
        at.session_state[f"detector-of-{folder.run_id}"].ended.result(30)
    at.run()
    assert any("The bundle took over 120 s" in error.value for error in at.error)
    assert not at.button(key="detector").disabled


def test_a_check_is_started_and_its_death_is_told(
    open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that reach no process; a page that waits for a process that is gone."""
    from panda_core.runs import launch

    folder = make_run()
    (folder.path / "checkpoints").mkdir(exist_ok=True)
    at = open_page("own_images", run=folder.run_id)
    drop(at, "own_others_False", [("b.png", b"no image")]).button(key="own-score").click().run()
    assert any("None of these files" in one.value for one in at.error) and "b.png" in words(at)
    at.segmented_control(key="own_way").set_value("a folder").run()
    drop(at, "own_others_True", [("a photo", png(1)), ("notes.txt", b"no image")])
    at.button(key="own-score").click().run()
    assert not at.exception
    (out,) = (folder.path / "checks").iterdir()
    assert at.query_params["check"] == out.name
    monkeypatch.setitem(launch._checks, out.name, SimpleNamespace(poll=lambda: -9))
    at = open_page("own_images", run=folder.run_id, check=out.name)
    assert any("ended without a result (signal 9" in one.value for one in at.error)
