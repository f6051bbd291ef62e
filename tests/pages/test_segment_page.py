"""The Segment page: maps, threshold, nearest patches, and photos of one's own."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.events import MASKS, ImagesSkipped, mask_of
from panda_core.records import write_json
from panda_core.runs.loaded import LoadedRun
from tests.pages.conftest import as_downloaded, tiles

HOT = (1, 2)  # row and column of the hot patch of every anomaly in the runs of `make_maps`


def test_without_runs_the_recorded_one_is_shown(open_page: Any) -> None:
    """A first visit that shows a form instead of a map."""
    at = open_page("segment")
    assert len(at.get("plotly_chart")) == 2  # the picture and its legend
    assert any(text.value.startswith("In truth **anomalous: ") for text in at.markdown)  # not "in truth texture"
    assert not at.error


def test_nothing_at_all_invites(open_page: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty page where the recorded run is missing; an example that does not start."""
    monkeypatch.setattr("pages.shared.runs.choice.RECORDED", tmp_path / "nothing")
    at = open_page("segment")
    at.button(key="segment-example").click().run()
    assert not at.exception
    (made,) = (tmp_path / "runs").iterdir()
    assert at.query_params["run"] in (made.name, [made.name])
    assert json.loads((made / "config.json").read_text())["dataset"] == "synthetic:elpv"


def test_the_form_starts_what_it_says(open_page: Any, runs_dir: Path) -> None:
    """Settings of the form that do not reach the run."""
    at = open_page("segment", segment="start a run", seg_train_limit="12")
    for key in ("seg_method", "seg_backbone"):
        assert all(option[0].isupper() for option in at.selectbox(key=key).options), "keys in place of names"
    at.selectbox(key="seg_method").set_value("spade").run()
    at.selectbox(key="seg_tiles").set_value("3").run()
    at.button(key="segment-start").click().run()
    assert not at.exception
    (made,) = runs_dir.iterdir()
    config = json.loads((made / "config.json").read_text())
    assert (config["recipe"], config["train_limit"], config["steps"], config["tiles"]) == ("spade", 12, None, "3")


def test_start_takes_what_was_typed_last(open_page: Any, runs_dir: Path) -> None:
    """A button whose callback starts what the form described before its last field was changed."""
    at = open_page("segment", segment="start a run")
    at.number_input(key="seg_train_limit").set_value(12)
    at.button(key="segment-start").click().run()  # one run for both, as where somebody types and presses at once
    assert not at.exception
    (made,) = runs_dir.iterdir()
    assert json.loads((made / "config.json").read_text())["train_limit"] == 12


def test_an_adapted_network_can_be_chosen(open_page: Any, make_run: Any, runs_dir: Path) -> None:
    """A run that was adapted and is not used."""
    folder = make_run()
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "000020.safetensors").write_bytes(b"")
    at = open_page("segment", segment="start a run")
    at.selectbox(key="seg_network").set_value(folder.run_id).run()
    at.button(key="segment-start").click().run()
    assert not at.exception
    made = next(path for path in runs_dir.iterdir() if path != folder.path)
    options = json.loads((made / "config.json").read_text())["set"]
    assert options["adapted"] == str(folder.path.resolve()) and options["checkpoint"] == "last"


def test_counts_follow_the_threshold(open_page: Any, make_maps: Any) -> None:
    """Counts beside a slider that belong to another value; a map value that decides which images are rejected."""
    folder = make_maps()
    labels = np.array(folder.read("split.json")["is_anomaly"])
    at = open_page("segment", run=folder.run_id)
    assert f"**{labels.sum()} of {labels.sum()}** defects found" in verdicts(at)
    calibration, scores = LoadedRun(folder).calibration, folder.arrays(0).scores
    for percent in (1, 20, 50):
        at.slider(key="map_alarms").set_value(percent).run()
        rejected = calibration.rejects(scores, percent / 100)
        assert f"**{rejected[labels == 0].sum()} of {(labels == 0).sum()}** normal rejected" in verdicts(at)
        assert f"**{rejected[labels == 1].sum()} of {labels.sum()}** defects found" in verdicts(at)
        badges = {tile["number"]: tile["verdict"] for tile in tiles(at)}
        assert badges == {row: "rejected" if rejected[row] else "accepted" for row in badges}
    before = verdicts(at)
    for value, recall in ((3.05, "0.0 %"), (0.0, "100.0 %")):
        at.slider(key="map_value").set_value(value).run()
        assert values(at)["Pixel recall"] == recall and verdicts(at) == before


def test_pixel_counts_are_those_of_the_metrics(make_maps: Any) -> None:
    """Masks and maps of different images that are laid over one another."""
    from pages.shared.segment.maps import view_of
    from pages.shared.segment.numbers import _counts
    from panda_core.runs.loaded import LoadedRun

    run = LoadedRun(make_maps())
    view, hits, marked = view_of(run, 0), 0, 0
    for image, anomalous in enumerate(run.split.is_anomaly):
        mask = run.masks().load(image)
        if anomalous:
            large = np.asarray(Image.fromarray(mask).resize((32, 32), Image.Resampling.NEAREST))
            hits += int((large & (view.maps.full(image) > 1.5)).sum())
            marked += int(large.sum())
    counts = _counts(run.run_id, 0, 1.5)
    assert (counts.true_positives, counts.true_positives + counts.false_negatives) == (hits, marked)


def test_one_scale_for_all_images(open_page: Any, make_maps: Any) -> None:
    """Colours that change from image to image, unless people ask for the mistake and are told what it is."""
    folder = make_maps()
    legends = []
    for image in ("0", "11"):
        legends.append(legend(open_page("segment", run=folder.run_id, image=image)))
    assert legends[0]["layout"]["xaxis"]["tickvals"] == legends[1]["layout"]["xaxis"]["tickvals"]
    at = open_page("segment", run=folder.run_id, map_colours="each image its own")
    assert any("all normals are red" in warning.value for warning in at.warning)


def test_the_hottest_patch_is_explained_first(open_page: Any, make_maps: Any) -> None:
    """Neighbours of another patch than the one that is framed."""
    folder = make_maps()
    labels = np.array(folder.read("split.json")["is_anomaly"])
    image = int(np.nonzero(labels)[0][0])
    at = open_page("segment", run=folder.run_id, image=str(image))
    keys = [f"map-{name}-{folder.run_id}-{image}" for name in ("row", "column")]
    assert [at.number_input(key=key).value for key in keys] == [HOT[0] + 1, HOT[1] + 1]
    from panda_core.runs.loaded import LoadedRun

    maps = LoadedRun(folder).maps(0)
    for group, (row, column) in enumerate((HOT, (HOT[0] // 2, HOT[1] // 2))):
        for distance in maps.distances[group][image, row, column]:
            assert f"{distance:.3g}" in crops(at)
    assert crops(at).count("this patch") == len(maps.distances)
    at.number_input(key=keys[0]).set_value(4).run()
    assert f"{maps.distances[0][image, 3, 2, 0]:.3g}" in crops(at)


def test_unused_masks_are_named_beside_the_pixel_figures(open_page: Any, make_maps: Any) -> None:
    """A pixel AUROC of fewer images than it seems, and "nobody has marked" of an image whose mask is inverted."""
    folder = make_maps()
    split = folder.read("split.json")
    image = split["is_anomaly"].index(1)
    split["has_mask"][image] = False
    write_json(folder.path / "split.json", split)
    name, reason = mask_of(split["test"][image]), "it is inverted: white all over but for the defect."
    folder.append(ImagesSkipped(split=MASKS, count=2, names=[name, "gt/99.png"], reasons=[reason, "no image"]))
    at = open_page("segment", run=folder.run_id, image=str(image))
    assert any("2 masks not used" in expander.label for expander in at.expander)
    assert any("Its mask is not used" in caption.value and "inverted" in caption.value for caption in at.caption)


def test_the_form_offers_a_range_for_folders(open_page: Any, tmp_path: Path) -> None:
    """A note that says to set a range, and no field to set it in."""
    for number in range(6):
        (tmp_path / "parts").mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 20), 900 + number, np.uint16)).save(tmp_path / "parts" / f"{number}.png")
    for page, prefix in (("segment", "seg_"), ("new_classes", "new_")):
        section = {"segment": "start a run", "new_classes": "train one"}[page]
        query = {page: section, f"{prefix}dataset": "folder", f"{prefix}folder": str(tmp_path / "parts")}
        at = open_page(page, **query)
        assert not at.exception and at.text_input(key=f"{prefix}set_range").value == "full"


def test_checkpoints_are_followed(open_page: Any, make_maps: Any) -> None:
    """A slider over checkpoints that leaves the map where it was."""
    folder = make_maps(steps=(0, 20))
    labels = np.array(folder.read("split.json")["is_anomaly"])
    image = str(int(np.nonzero(labels)[0][0]))
    at = open_page("segment", run=folder.run_id, image=image)
    assert any("3.20" in markdown.value for markdown in at.markdown)
    at.select_slider(key="map_step").set_value("0").run()
    assert any("3.00" in markdown.value for markdown in at.markdown)
    followed = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")][-1]
    assert followed["data"][0]["x"] == [0, 20]


@pytest.mark.parametrize("dataset", ["digits", "synthetic:digits"])
@pytest.mark.parametrize("held_out", [0, 20])
def test_every_way_of_drawing(dataset: str, held_out: int, open_page: Any, make_maps: Any) -> None:
    """A run without masks, or without held-out images, that has no threshold."""
    folder = make_maps(dataset=dataset, held_out=held_out)
    at = open_page("segment", run=folder.run_id)
    assert ("defects found" in verdicts(at)) == bool(held_out)
    ways = at.segmented_control(key="map_way")
    assert len(ways.options) == (4 if held_out else 1)
    pictures = set()
    for way in ("heatmap", "contour", "mask", "boxes")[: len(ways.options)]:
        at.segmented_control(key="map_way").set_value(way).run()
        assert not at.exception
        pictures.add(at.get("plotly_chart")[0].proto.spec)
    assert len(pictures) == len(ways.options)


def test_an_older_address_shows_what_it_did(open_page: Any, make_maps: Any) -> None:
    """Links that were made when choices were written without a capital, and now fall back to the first choice."""
    folder = make_maps()
    query = {"map_way": "contour", "map_order": "lowest score first", "map_group": "normal"}
    at = open_page("segment", run=folder.run_id, **query)
    assert at.segmented_control(key="map_way").value == "contour"
    assert at.selectbox(key="map_order").value == "lowest score first"
    assert {tile["truth"] for tile in tiles(at)} == {"normal"}


def test_gallery_groups(make_maps: Any) -> None:
    """A filter that shows other images than its name says."""
    from pages.shared.segment.gallery import HIGHEST, LOWEST, ordered
    from pages.shared.segment.maps import view_of
    from panda_core.runs.loaded import LoadedRun

    view = view_of(LoadedRun(make_maps()), 0)
    scores, labels = view.maps.scores, view.is_anomaly
    assert ordered(view, "all images", HIGHEST)[0] == scores.argmax()
    assert ordered(view, "all images", LOWEST)[0] == scores.argmin()
    assert set(ordered(view, "normal", HIGHEST)) == set(np.nonzero(labels == 0)[0])
    for kind in view.names_of_kinds:
        assert {view.kinds[image] for image in ordered(view, kind, HIGHEST)} == {kind}


def test_numbers_without_the_images(open_page: Any, make_maps: Any, tmp_path: Path) -> None:
    """A run whose images were moved: its numbers stay, and a sentence says what is missing."""
    folder = make_maps()
    config = json.loads((folder.path / "config.json").read_text())
    config["dataset"] = f"folder:{tmp_path / 'gone'}"
    (folder.path / "config.json").write_text(json.dumps(config))
    at = open_page("segment", run=folder.run_id)
    assert any("cannot be shown" in info.value for info in at.info)
    assert not at.get("image") and values(at)["Image AUROC"] == "0.988"


@pytest.mark.parametrize("name", ["maps/000000.npz", "arrays/000000.npz", "events.jsonl"])
def test_damaged_files_are_a_sentence(name: str, open_page: Any, make_maps: Any) -> None:
    """A traceback where a file was cut short."""
    folder = make_maps()
    (folder.path / name).write_bytes(b"PK\x03\x04 not an archive\n")
    at = open_page("segment", run=folder.run_id)
    assert len(at.error) == 1


def test_progress_names_the_stage(open_page: Any, make_maps: Any) -> None:
    """A computing run that seems to hang, or cannot be stopped."""
    from pages.shared.runs.progress import progress_of_segmentation
    from panda_core.events import CacheProgress, RunStarted

    folder = make_maps("running")
    with folder.lock():
        at = open_page("segment", run=folder.run_id)
        at.button(key="stop").click().run()
        assert folder.stop_requested()
    events = [RunStarted(run_id="x", config={}, time=0.0)]
    assert progress_of_segmentation(events, 1).stage == "loading the network"
    events += [CacheProgress(split="train", done=done, total=40, time=float(done)) for done in (0, 10)]
    reading = progress_of_segmentation(events, 2)
    assert reading.stage == "network 1 of 2: reading normal images: 10 of 40"
    assert (reading.fraction, reading.seconds_left) == (0.25, pytest.approx(30))
    events.append(CacheProgress(split="train", done=40, total=40, time=40.0))
    assert progress_of_segmentation(events, 1).stage == "learning what is normal"


def test_other_pages_send_a_segmentation_here(open_page: Any, make_run: Any, make_maps: Any) -> None:
    """A run with maps that is shown where only adaptations can be, or that cannot be found from there."""
    make_run()
    folder = make_maps()
    for page in ("adapt", "examine"):
        at = open_page(page, run=folder.run_id)
        assert any("on another page" in info.value for info in at.info)
        assert [link.proto.label for link in at.get("page_link")].count("Open it") == 1
        assert not any(folder.run_id in str(box.options) for box in at.selectbox)
    at = open_page("runs")
    row = list(at.dataframe[0].value["Recipe"]).index("PatchCore")
    assert at.dataframe[0].value["AUROC"][row] == "0.988" and at.dataframe[0].value["Steps"][row] == "–"
    at.selectbox(key="chosen_run").set_value(folder.run_id).run()
    assert "Maps" in [link.proto.label for link in at.get("page_link")]


def values(at: Any) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def verdicts(at: Any) -> str:
    """Return what is said beside the threshold."""
    (told,) = [text.value for text in at.markdown if "threshold" in text.value]
    return str(told)


def crops(at: Any) -> list[str]:
    """Return what stands below the patches that are shown beside one another."""
    return [picture.caption for element in at.get("image") for picture in element.proto.imgs if picture.caption]


def legend(at: Any) -> dict[str, Any]:
    (found,) = [chart for chart in at.get("plotly_chart") if "Colours of the map" in chart.proto.alt]
    return json.loads(found.proto.spec)  # type: ignore[no-any-return]


def test_archive_holds_maps_and_a_harmless_table(make_maps: Any) -> None:
    """Maps that are not those of the run; a name that a spreadsheet computes."""
    from pages.shared.segment.archive import maps_zipped
    from pages.shared.segment.maps import view_of
    from panda_core.records import plain_cell
    from panda_core.runs.loaded import LoadedRun

    view = view_of(LoadedRun(make_maps()), 0)
    with maps_zipped(view) as file, zipfile.ZipFile(io.BytesIO(as_downloaded(file))) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("scores.csv").decode())))
        kept = np.load(io.BytesIO(archive.read("maps/0003.npy")), allow_pickle=False)
        picture = Image.open(io.BytesIO(archive.read("overlays/0003.png")))
        assert picture.size == (480, 480)
    assert len(rows) == len(view.maps.scores)
    np.testing.assert_allclose(kept, view.maps.full(3), atol=2e-3)
    assert float(rows[3]["score"]) == pytest.approx(view.maps.scores[3], rel=1e-5)
    assert plain_cell("=1+1") == "'=1+1" and plain_cell("@x").startswith("'") and plain_cell("cell.png") == "cell.png"


def test_the_page_of_a_run_has_one_run(open_page: Any, make_run: Any, make_maps: Any) -> None:
    """A choice of a run below the heading of another: which of them do the pictures belong to?"""
    runs = {"examine": make_run(name="Plates"), "segment": make_maps(name="Plates")}
    for page, folder in runs.items():
        at = open_page(page, run=folder.run_id)
        assert [title.value for title in at.title] == ["Plates"]
        assert "Run" not in [box.label for box in at.selectbox]
        assert "Start a run" not in str([group.options for group in at.segmented_control])
        at = open_page(page)
        assert "Run" in [box.label for box in at.selectbox]
