"""Runs that cut large photos into tiles: what they find, what they leave behind, and what they refuse."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from panda_core import PandaDetector, RunConfig, UnreadableImage, UsageError, load_bundle, load_run
from panda_core.cli import main
from panda_core.events import DataNoted, ImagesSkipped, RunFinished
from panda_core.export.bundle import write_bundle
from panda_core.report.score_report import ScoreReport
from panda_core.runs.corrected import correct_run, corrections_of
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.kinds import prepare
from panda_core.runs.run import resume
from panda_core.runs.score import score_files
from panda_core.segmentation.detail import detail_of
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of
from panda_core.serve import application

Finish = Callable[..., Any]


def surface(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a drawn photo of a rough grey surface, with spots a hundredth of its height wide."""
    rng, (height, width) = np.random.default_rng(seed), shape
    grey = np.full(shape, 130, np.float32)
    for part, strength in ((2, 14), (16, 10)):
        noise = rng.normal(0, strength, (height // part, width // part)).astype(np.float32)
        grey += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.stack([grey, 0.97 * grey, 0.93 * grey], axis=-1), 0, 255).astype(np.uint8)


def scratched(
    photo: np.ndarray, middle: tuple[int, int], length: int, width: int, depth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo with a darker scratch around (x, y), and which pixels it covers."""
    layer, half = np.zeros(photo.shape[:2], np.float32), (round(0.47 * length), round(0.17 * length))
    start, end = ((middle[0] + sign * half[0], middle[1] + sign * half[1]) for sign in (-1, 1))
    cv2.line(layer, start, end, 1.0, width, cv2.LINE_AA)
    return np.clip(photo - depth * layer[..., None], 0, 255).astype(np.uint8), layer > 0.5


def test_a_scratch_of_12_pixels_is_found_in_a_photo_of_six_million() -> None:
    """What nobody sees who squeezes 3,000 x 2,000 pixels into 224 x 224."""
    normal = [surface(seed, (2000, 3000)) for seed in range(4)]
    bad, pixels = scratched(surface(21, (2000, 3000)), (1900, 700), length=110, width=12, depth=36)
    fresh, quick = surface(11, (2000, 3000)), {"bank_rows": 200, "candidates": 2000}
    places, outstanding = {}, {}
    for tiles in ("4", "off"):
        detector = PandaDetector(recipe="patchcore", tiles=tiles, device="cpu", set=quick).fit(normal)
        found = detector.segment([bad, fresh])
        outstanding[tiles] = bool(found.scores[0] > max(detector.threshold(), found.scores[1]))
        values = full_map(found.grids[0], *drawing_of(detector.config))
        assert values.shape == ((480, 704) if tiles == "4" else (224, 224))
        across, down = 3000 / values.shape[1], 2000 / values.shape[0]
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        part = pixels[
            int(row * down) : int((row + 1) * down) + 1, int(column * across) : int((column + 1) * across) + 1
        ]
        places[tiles] = bool(part.any())
    assert places == {"4": True, "off": False}, "the highest place of the map is on the scratch"
    assert outstanding == {"4": True, "off": False}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of photos of 240 x 160 pixels: 10 to learn from, 2 normal and 2 scratched ones, with masks."""
    root = tmp_path / "photos"
    for number in range(14):
        image, kind = surface(number, (160, 240)), "train/good" if number < 10 else "test/good"
        if number >= 12:
            image, pixels = scratched(image, (150, 60), length=50, width=6, depth=110)
            kind = "test/scratch"
            (root / "ground_truth/scratch").mkdir(parents=True, exist_ok=True)
            Image.fromarray((255 * pixels).astype(np.uint8)).save(root / f"ground_truth/scratch/{number}_mask.png")
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / kind / f"{number}.png")
    return root


@pytest.fixture
def tiled(photos: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Return a function (fields to change...) -> the config of a run on these photos, in 3 x 2 tiles of 64 pixels."""

    def make(**changes: Any) -> RunConfig:
        given: dict[str, Any] = {
            "dataset": f"folder:{photos}",
            "recipe": "patchcore",
            "image_size": 64,
            "tiles": "3",
            "feature_norm": "l2",  # whitening takes longer than all else here
            "device": "cpu",
            "runs_dir": str(tmp_path / "runs"),
        }
        return RunConfig(**{**given, **changes})

    return make


RECIPES: list[dict[str, Any]] = [
    {},
    {"recipe": "spade"},
    {"recipe": "anomalydino", "set": {"rotations": 4}},
    {"recipe": "subspacead"},
]


@pytest.mark.parametrize("changes", RECIPES, ids=lambda changes: changes.get("recipe", "patchcore"))
def test_a_run_can_be_had_again_by_whatever_reads_it(
    tiled: Callable[..., RunConfig], finish: Finish, tmp_path: Path, changes: dict[str, Any], capsys: Any
) -> None:
    """A grid that is not saved; a detector, bundle or check that cuts otherwise than the run did."""
    folder, events = finish(tiled(**changes))
    assert main(["verify", str(folder.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bit_for_bit"]
    loaded = load_run(folder.path)
    told = detail_of((240, 160), 64, tiles="3").sentence()
    assert any(isinstance(event, DataNoted) and event.told.startswith(told) for event in events)
    maps, arrays = loaded.maps(0), loaded.final()
    assert 4 * maps.grids.shape[1] == 3 * maps.grids.shape[2]  # of the canvas of 128 x 96 pixels
    images = [loaded.images("test").load(row) for row in range(len(arrays.scores))]
    detector = loaded.detector()
    np.testing.assert_array_equal(detector.anomaly_scores(3 * images)[: len(images)], arrays.scores)
    found = detector.anomaly_maps(images)
    assert found.shape == (len(images), 96, 128) and loaded.metrics is not None
    assert loaded.metrics["image_auroc"] == 1 and loaded.metrics["pixel_auroc"] > 0.9
    if loaded.config.recipe in ("patchcore", "spade"):
        bundle = write_bundle(loaded, tmp_path / "bundle.zip")
        opened = load_bundle(bundle.path, device="cpu")
        np.testing.assert_array_equal(opened.anomaly_scores(images), arrays.scores)
        np.testing.assert_array_equal(opened.anomaly_maps(images), found)


@pytest.mark.parametrize("line", [1, 3, 5, 6, 7, 8])
def test_killed_and_resumed_equals_uninterrupted(
    tiled: Callable[..., RunConfig],
    finish: Finish,
    forked: Callable[..., Any],
    contents: Callable[[RunFolder], dict[str, Any]],
    tmp_path: Path,
    line: int,
) -> None:
    """A run in tiles, killed with SIGKILL after some line, that ends with another bank, grid, map or threshold."""
    whole = contents(finish(tiled(runs_dir=str(tmp_path / "whole")))[0])
    process, lines = forked("segment", "--json", *tiled().to_flags())
    for _ in itertools.islice(lines, line):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    (folder,) = list_runs(tiled().runs_dir)
    if folder.state().state != "finished":  # the last kill may come too late
        assert folder.state().state == "interrupted"
        assert isinstance(list(resume(folder))[-1], RunFinished)
    assert contents(folder) == whole
    assert not list(folder.path.rglob("*.panda-part"))


def test_boxes_of_a_report_are_in_the_pixels_of_the_photo(
    tiled: Callable[..., RunConfig], finish: Finish, photos: Path
) -> None:
    """A box in cells, or in pixels of the map, that nobody finds in the photo."""
    detector = load_run(finish(tiled())[0].path).detector()
    report = ScoreReport(detector, "a run")
    (scored,) = score_files(detector, [("12.png", photos / "test/scratch/12.png")])
    report.add(scored)
    (row,) = report._rows
    assert row.largest is not None
    box, pixels = row.largest, np.argwhere(cv2.imread(str(photos / "ground_truth/scratch/12_mask.png"), 0) > 0)
    (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0)
    assert box.left < left and right < box.left + box.width and box.top < top and bottom < box.top + box.height
    assert abs(box.left + box.width / 2 - (left + right) / 2) < 24


def test_photos_of_another_shape_are_named_and_left_out(
    tiled: Callable[..., RunConfig], finish: Finish, photos: Path, capsys: Any
) -> None:
    """A photo held upright that is squeezed to the others' shape, and scored as if that were what it shows."""
    for place in ("train/good/3.png", "test/good/10.png"):
        Image.fromarray(surface(3, (240, 160))).save(photos / place)
    Image.fromarray(surface(10, (320, 480))).save(photos / "test/good/11.png")  # larger, in the same shape
    folder, events = finish(tiled())
    skipped = {event.split: event for event in events if isinstance(event, ImagesSkipped)}
    assert set(skipped["train"].names) | set(skipped["test"].names if "test" in skipped else ()) == {
        "train/good/3.png",
        "test/good/10.png",
    }
    assert "160 × 240 px; with `--tiles 3`" in skipped["train"].reasons[0]
    loaded = load_run(folder.path)
    assert not any("10.png" in name for name in (*loaded.split.test, *loaded.split.train))
    upright = photos / "test/good/10.png"
    detector = loaded.detector()
    with pytest.raises(UnreadableImage, match=r"10.png` is 160 × 240 px.*240 × 160 px, within 10%"):
        detector.anomaly_scores([upright])
    assert main(["score", str(folder.path), str(upright), str(photos / "test/good/11.png"), "--json"]) in (0, 1)
    rows = json.loads(capsys.readouterr().out)
    with pytest.raises(UnreadableImage, match=r"160 × 240 px"):
        list(correct_run(folder, [upright], accept=True))
    assert not corrections_of(folder)
    assert rows[0]["score"] is None and "160 × 240 px" in rows[0]["verdict"] and rows[1]["score"] is not None
    with TestClient(application(detector)) as client:
        head = {"Content-Type": "image/png"}
        refused = client.post("/score", content=upright.read_bytes(), headers=head)
        judged = client.post("/score?map=1", content=(photos / "test/good/11.png").read_bytes(), headers=head)
    assert refused.status_code == 422 and "160 × 240 px" in refused.json()["error"]
    assert judged.json()["score"] == rows[1]["score"] and judged.json()["map"]


def test_images_of_all_shapes_are_refused(tiled: Callable[..., RunConfig], photos: Path) -> None:
    """A run on the few images that happen to have one shape."""
    for number in range(10):
        Image.fromarray(surface(number, (160, 100 + 40 * number))).save(photos / f"train/good/{number}.png")
    with pytest.raises(UsageError, match=r"photos of one aspect; of 9 .* 1 has that of .* px\. Leave `--tiles` out"):
        prepare(tiled())
    assert prepare(tiled(tiles="off")).config.tiles == "off"


def test_auto_is_written_down_as_what_it_means(tiled: Callable[..., RunConfig]) -> None:
    """A run that means something else once its folder has larger photos; small photos that take longer for nothing."""
    assert prepare(tiled(tiles="auto")).config.tiles == "4"
    assert prepare(tiled(tiles="auto", image_size=160)).config.tiles == "off"
    assert prepare(tiled(tiles="auto", image_size=128)).config.tiles == "2"
    assert tiled(tiles="off").to_flags() == tiled(tiles=RunConfig.tiles).to_flags()
    assert "--tiles 3" in " ".join(tiled().to_flags())


@pytest.fixture
def refused(capsys: Any) -> Iterator[Callable[..., str]]:
    """Return a function (arguments...) -> the sentence with which a command line refuses them, as wrong usage."""

    def call(*arguments: str) -> str:
        assert main([*arguments]) == 2
        return str(capsys.readouterr().err)

    return call


def test_what_has_no_tiles_refuses_them(refused: Callable[..., str], photos: Path) -> None:
    """An option that is taken and does nothing."""
    where = ("--dataset", f"folder:{photos}")
    assert "`tiles` must be off, auto or" in refused("segment", *where, "--tiles", "1")
    said = refused("run", *where, "--recipe", "panda-early", "--tiles", "4")
    assert "`tiles` has no effect with recipe `panda-early`, which looks at whole images" in said
    with pytest.raises(UsageError, match=r"`tiles` has no effect with recipe `resad`"):
        prepare(RunConfig(recipe="resad", dataset=f"folder:{photos}", tiles="2"))


def test_a_graph_of_one_size_sends_to_the_bundle(
    tiled: Callable[..., RunConfig], finish: Finish, refused: Callable[..., str], tmp_path: Path
) -> None:
    """A file that takes a photo of six million pixels as one square, and gives other scores than the run."""
    folder, _ = finish(tiled(tiles="2", recipe="subspacead"))
    for kind, file in (("onnx", "a.onnx"), ("torchscript", "a.pt")):
        said = refused("export", str(folder.path), str(tmp_path / file), "--format", kind)
        assert "(`--tiles 2`)" in said and "--format bundle" in said


def test_memory_is_refused_before_it_is_spent(tiled: Callable[..., RunConfig], finish: Finish) -> None:
    """Patches of all tiles of all photos, gathered until nothing is left."""
    prepare(tiled(set={"memory_gb": 0.05}))
    with pytest.raises(UsageError, match=r"The patches of 11 normal images need 0\.\d GB.*, fewer `--tiles`"):
        finish(tiled(tiles="16", feature_norm="whiten", set={"memory_gb": 0.05}))


@pytest.mark.parametrize("changes", [{}, {"recipe": "anomalydino", "set": {"rotations": 4}}], ids=["all", "turned"])
def test_a_region_of_interest_holds_in_tiles(
    tiled: Callable[..., RunConfig], finish: Finish, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """A scratch beside the part that counts is told, or one on it is not; tiles that look at what is painted over."""
    counted = np.zeros((160, 240), np.uint8)
    counted[20:140, 20:150] = 255
    Image.fromarray(counted).save(tmp_path / "roi.png")
    folder, _ = finish(tiled(roi=str(tmp_path / "roi.png"), **changes))
    detector, plain = load_run(folder.path).detector(), surface(40, (160, 240))
    outside, _ = scratched(plain, (195, 60), length=50, width=6, depth=110)
    inside, _ = scratched(plain, (90, 60), length=50, width=6, depth=110)
    scores, maps = detector.anomaly_scores([plain, outside, inside]), detector.anomaly_maps([plain, outside, inside])
    assert scores[0] == scores[1] and scores[2] > max(scores[0], detector.threshold())
    np.testing.assert_array_equal(maps[0], maps[1])
    row, column = np.unravel_index(int(maps[2].argmax()), maps[2].shape)
    assert abs((row + 0.5) / 96 * 160 - 60) < 40 and abs((column + 0.5) / 128 * 240 - 90) < 40
    assert not maps[:, :, 90:].any() and maps[2].max() > maps[0].max()
