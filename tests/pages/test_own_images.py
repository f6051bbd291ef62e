"""The Own images page: dropped, understood, learned from, scored; reachable by address alone."""

from __future__ import annotations

import io
import json
import pickle
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets.io.decoding import BYTE_CEILING
from panda_core.records import write_arrays, write_json
from panda_core.runs.arrays import FinalArrays
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.uploads import Upload, find_upload, keep_upload
from tests.pages.conftest import component_data, tiles

USE = "use it elsewhere"


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
    drop(
        at, "own_images", [*((f"*{row}*.png", png(row)) for row in range(9)), ("<b>.png", b"no"), ("copy.png", png(0))]
    )
    assert not at.exception
    assert "**9 good**, **0 bad**; 30 × 24 px" in words(at)
    assert r"\<b\>.png" in words(at) and "copy.png" in words(at)
    assert [(tile["name"], tile["truth"]) for tile in tiles(at)] == [(f"*{row}*.png", "normal") for row in range(9)]
    assert all(tile["picture"].startswith("data:image/") for tile in tiles(at))
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
    at = open_page("own_images")
    if field == "own_folder":
        at.segmented_control(key="own_what").set_value("A folder").run()
    drop(at, field, [*images, *bad])
    assert not at.exception and "**8 good**" in words(at) and not (tmp_path / "canary").exists()
    assert all(name in words(at) for name, _ in bad)
    kept = [path for path in (tmp_path / "runs" / "uploads").rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} == {".png", ".json"} and len(kept) == 8 + 2


def test_a_zip_with_folders_and_the_other_method(open_page: Any, runs_dir: Path) -> None:
    """Anomalies in an archive that are learned as normal; a choice of method without effect."""
    members = {f"good/{row}.png": png(row) for row in range(8)} | {f"bent/{row}.png": png(20 + row) for row in range(2)}
    at = drop(open_page("own_images"), "own_images", [("all.zip", zipped(members))])
    assert "**8 good**, **2 bad**" in words(at)
    assert [tile["truth"] for tile in tiles(at)] == ["anomalous"] * 2 + ["normal"] * 8
    at.segmented_control(key="own_method").set_value("Whole photo").run()
    at.button(key="own-learn").click().run()
    (made,) = runs_dir.glob("2*")
    assert json.loads((made / "config.json").read_text())["recipe"] == "panda-early"


def test_lost_detail_is_told_and_can_be_had(open_page: Any, runs_dir: Path) -> None:
    """Photos of 3,000 px that are learned at 224 px without a word."""
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (2000, 3000), dtype=np.uint8)).save(held, "JPEG")
    at = open_page("own_images")
    drop(at, "own_images", [("large.jpg", held.getvalue()), *((f"{row}.png", png(row)) for row in range(7))])
    assert "3,000 × 2,000 px are looked at as 224 × 224 px" in words(at) and "5 px of the photo is lost" in words(at)
    at.segmented_control(key="own_detail_Patches").set_value(1).run()
    assert "448 × 448 px" in words(at) and "3 px of the photo is lost" in words(at)
    at.button(key="own-learn").click().run()
    (made,) = runs_dir.glob("2*")
    assert json.loads((made / "config.json").read_text())["image_size"] == 448


def test_large_photos_can_be_looked_at_closer(open_page: Any, runs_dir: Path) -> None:
    """A choice that costs twelve times the time without a word, or that the run does not hear of."""
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (2000, 3000), dtype=np.uint8)).save(held, "JPEG")
    at = open_page("own_images")
    drop(at, "own_images", [("large.jpg", held.getvalue()), *((f"{row}.png", png(row)) for row in range(7))])
    closer = at.segmented_control(key="own_tiles_224")
    assert closer.options == ["Whole", "2 × 2 tiles", "4 × 3 tiles", "8 × 6 tiles"]
    closer.set_value("4").run()
    assert "in 4 × 3 tiles of 224 px: a scratch narrower than about 2 px of the photo is lost" in words(at)
    assert "up to 12 times as long" in words(at)
    assert "Not all photos have one shape" in words(at)
    at.button(key="own-learn").click().run()
    (made,) = runs_dir.glob("2*")
    assert json.loads((made / "config.json").read_text())["tiles"] == "4"


def test_small_photos_are_not_cut(open_page: Any) -> None:
    """Tiles that enlarge what there is, and take longer for nothing."""
    at = drop(open_page("own_images"), "own_images", [(f"{row}.png", png(row)) for row in range(8)])
    assert not [one for one in at.segmented_control if one.key and one.key.startswith("own_tiles")]


def test_sample_parts_come_with_the_program(open_page: Any) -> None:
    """A first visit that ends for want of photos; samples that a changed data set no longer holds."""
    at = open_page("own_images")
    at.button(key="own-sample").click().run()
    assert not at.exception and "**15 good**, **5 bad**" in words(at) and len(tiles(at)) == 20


@pytest.mark.parametrize("content", [zipped({"../a.png": png(1)}), b"PK\x03\x04 damaged"])
def test_a_hostile_archive_ends_in_a_sentence(content: bytes, open_page: Any, tmp_path: Path) -> None:
    """A trace of the program's insides, or half an upload that stays."""
    at = drop(open_page("own_images"), "own_images", [("photos.zip", content)])
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
    assert len(tiles(open_page("own_images", upload=upload.token))) == 8


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


def test_an_owner_deletes_everything(open_page: Any, make_maps: Any, runs_dir: Path) -> None:
    """*Delete* that leaves photos which were scored, their names, or the detector on the disk."""
    upload = uploaded("normal", [f"secret {row}.png" for row in range(8)])
    folder = make_maps(dataset=f"folder:{upload.images}", normal_class="good")
    (folder.path / "banks").mkdir()
    judged, _ = checked(folder, ["secret too.png"], [0.5], "maps")
    stranger = uploaded("normal", ["not mine.png"])
    at = open_page("own_images", run=folder.run_id)
    at.button(key="own-delete").click().run()
    assert not at.exception and "Everything of yours is deleted" in at.success[0].value
    assert not {"run", "upload", "check"} & set(at.query_params)
    left = " ".join(f"{path} {path.read_bytes()!r}" for path in runs_dir.rglob("*") if path.is_file())
    assert all(text not in left for text in ("secret", upload.token, judged.token, folder.run_id))
    assert stranger.path.is_dir() and "not mine" in left


@pytest.mark.parametrize("kind", ["maps", "scores"])
def test_results_end_in_pictures_and_a_sentence_on_trust(
    kind: str, open_page: Any, make_maps: Any, make_run: Any
) -> None:
    """A detector is learned, and not one picture shows what it makes of bad photos, nor a word how far to trust it."""
    folder = make_maps() if kind == "maps" else make_run()
    (folder.path / ("banks" if kind == "maps" else "checkpoints")).mkdir(exist_ok=True)
    at = open_page("own_images", run=folder.run_id)
    assert any("How far to trust it:" in text.value for text in at.markdown)
    shown = tiles(at)
    bad = [tile for tile in shown if tile["truth"] == "anomalous"]
    assert bad and all(tile["picture"] and tile["verdict"] for tile in shown)
    assert any("Histogram of anomaly scores" in chart.proto.alt for chart in at.get("plotly_chart"))


def test_a_correction_learns_again(open_page: Any, make_maps: Any, runs_dir: Path) -> None:
    """A wrong verdict that nobody can put right; a correction that is forgotten when it is learned again."""
    members = {f"good/{row}.png": png(row) for row in range(9)} | {"bent/a.png": png(30)}
    upload = keep_upload([("by folder", "all.zip", io.BytesIO(zipped(members)))])
    folder = make_maps(dataset=f"folder:{upload.images}", normal_class="good", test_limit=None, train_limit=None)
    (folder.path / "banks").mkdir()
    places = folder.read("split.json")["test"]
    normal = next(row for row, place in enumerate(places) if place.startswith("good/"))
    before = {"own_view": "Photos it knows", "check": "c" * 32}
    at = open_page("own_images", run=folder.run_id, image=str(normal), **before)
    name = upload.names()[places[normal]]
    at.button(key="own-correct-bad").click().run()
    assert not at.exception and at.query_params["run"] != folder.run_id
    assert "check" not in at.query_params  # that of the detector before is none of the new one
    corrected = find_upload(upload.token)
    assert corrected is not None and corrected.understood.normals == 8
    assert corrected.names()["anomalous/0000.png"] == name


def test_the_good_photo_least_like_the_others_can_be_called_bad(open_page: Any, make_maps: Any, runs_dir: Path) -> None:
    """A bad photo among the good ones that nobody is shown, or another one that is called bad in its place."""
    members = {f"good/{row}.png": png(row) for row in range(12)} | {"bent/a.png": png(30)}
    upload = keep_upload([("by folder", "all.zip", io.BytesIO(zipped(members)))])
    folder = make_maps(dataset=f"folder:{upload.images}", normal_class="good", test_limit=None, train_limit=None)
    (folder.path / "banks").mkdir()
    split = folder.read("split.json")
    count, odd = len(split["train"]), 2
    write_json(folder.path / "split.json", {**split, "held_out": list(range(count))})
    scores = np.ones(count, np.float32)
    scores[odd] = 5.0
    test = LoadedRun(folder).patch_arrays(0).scores
    FinalArrays(scores=test, held_out_scores=scores, step=np.zeros(len(test), np.int64)).write(
        folder.arrays_file("final")
    )
    at = open_page("own_images", run=folder.run_id, own_view="Photos it knows")
    shown = component_data(at, "panda_gallery")[-1]["tiles"]
    name = upload.names()[split["train"][odd]]
    assert not at.exception and shown[0]["name"] == name and len({tile["name"] for tile in shown}) == 4
    at.button(key="own-doubt-bad").click().run()
    corrected = find_upload(upload.token)
    assert not at.exception and corrected is not None
    assert corrected.names()["anomalous/0000.png"] == name


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
    assert "1 of 2 photos rejected" in at.subheader[0].value and "b.txt" in words(at)
    held_out = 20 if kind == "maps" else 2
    assert f"with {held_out} to judge by" in words(at) and "between" in words(at)
    assert ("19 are needed to promise" in words(at)) == (held_out < 19)


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
        assert f"**{found} of {len(scores)}** bad found" in told, percent


def test_learning_shows_how_far_it_is_and_no_empty_curves(open_page: Any, make_run: Any) -> None:
    """Four charts of a test set that photos of one's own do not have; a page without a word while it learns."""
    folder = make_run("running")
    with folder.lock():
        at = open_page("own_images", run=folder.run_id)
    assert not at.get("plotly_chart") and any(link.proto.query_string for link in at.get("page_link"))
    assert "working out the final scores" in str([bar.proto for bar in at.get("progress")]) and at.button(key="stop")


def test_a_check_is_started_and_its_death_is_told(
    open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that reach no process; a page that waits for a process that is gone."""
    from panda_core.runs import launch

    folder = make_run()
    (folder.path / "checkpoints").mkdir(exist_ok=True)
    at = open_page("own_images", run=folder.run_id, own_view="New photos")
    drop(at, "own_others_False_0", [("b.png", b"no image")])
    assert any("None of these files" in one.value for one in at.error) and "b.png" in words(at)
    at.segmented_control(key="own_way").set_value("A folder").run()
    drop(at, "own_others_True_0", [("a photo", png(1)), ("notes.txt", b"no image")])
    assert not at.exception
    (out,) = (folder.path / "checks").iterdir()
    assert at.query_params["check"] == out.name
    monkeypatch.setitem(launch._checks, out.name, SimpleNamespace(poll=lambda: -9))
    at = open_page("own_images", run=folder.run_id, check=out.name)
    assert any("ended without a result (signal 9" in one.value for one in at.error)


def test_fields_promise_what_is_read() -> None:
    """ "200MB per file" on a field, and a photo of 150 MB that is then refused."""
    config = tomllib.loads((Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml").read_text())
    assert config["server"]["maxUploadSize"] * 1_000_000 == BYTE_CEILING
