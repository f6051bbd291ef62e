"""The region of interest: nothing outside of it changes anything, and a run keeps it, wherever it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone

from panda_core import PandaDetector, PandaError, RunConfig, UsageError, load_run
from panda_core.datasets import ArrayImages, OneClassTask
from panda_core.errors import DataMissing, UnreadableImage
from panda_core.events import ImagesSkipped, RunFinished, RunStopped, Stepped
from panda_core.export.bundle import write_bundle
from panda_core.export.network_file import graph_of, write_network
from panda_core.export.opening import load_bundle
from panda_core.methods.table import RECIPES
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.folder import list_runs
from panda_core.runs.kinds import recompute, resolve
from panda_core.runs.run import resume, run
from panda_core.segmentation.table import SEGMENTERS

Make, Finish = Callable[..., RunConfig], Callable[..., Any]
HEIGHT, WIDTH = 36, 44
EXTRA: dict[str, dict[str, Any]] = {"mhrot": {"backbone": "rotnet", "image_size": 16}}


@pytest.fixture
def region(tmp_path: Path) -> Path:
    """Return the file of a region: an L, drawn at twice the size of the images."""
    marked = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    marked[10:50, 12:40] = 255
    marked[38:62, 30:76] = 255
    file = tmp_path / "region.png"
    Image.fromarray(marked).save(file)
    return file


def inside() -> np.ndarray:
    """Return which pixels of an image count."""
    marked = np.zeros((HEIGHT, WIDTH), bool)
    marked[5:25, 6:20] = True
    marked[19:31, 15:38] = True
    return marked


def task_of(outside: int) -> OneClassTask:
    """Return images whose insides are always the same; outside: the seed of what lies around them."""
    within, around = np.random.default_rng(1), np.random.default_rng(outside)
    normals, count = 20, 26
    images = np.where(
        inside()[None, :, :, None],
        within.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8),
        around.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8),
    )
    names = [f"{number}.png" for number in range(count)]
    train, test = ArrayImages(images[:normals], names[:normals]), ArrayImages(images[normals:], names[normals:])
    return OneClassTask(train, test, np.array([0, 0, 0, 1, 1, 1], np.uint8))


def without_contents(found: dict[str, Any]) -> dict[str, Any]:
    """Return what two runs have in common whose images differ: all but the digests of these."""
    del found["split.json"]["content"]
    for name in ("train_sha256", "test_sha256"):
        del found["environment.json"][name]
    return found


SEGMENTED = [
    *((recipe, {}) for recipe in SEGMENTERS),
    ("patchcore", {"set": {"rotations": 4, "merge": "concat", "position": 0.5}}),
    ("patchcore", {"set": {"top": 0, "image_score": "part", "reweight": 3}}),
    ("subspacead", {"set": {"rotations": 8}}),
]


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [*((recipe, EXTRA.get(recipe, {})) for recipe in RECIPES), *SEGMENTED],
    ids=str,
)
def test_pixels_outside_change_no_bit(
    tiny: Make,
    spot: Make,
    finish: Finish,
    contents: Callable[..., Any],
    region: Path,
    recipe: str,
    changes: dict[str, Any],
) -> None:
    """A view, a copy, a bank, a unit, a map or a threshold that has seen what does not count."""
    make = spot if recipe in SEGMENTERS else tiny
    given = {"recipe": recipe, "dataset": GIVEN_IMAGES, "normal_class": None, "roi": str(region), **changes}
    if recipe in RECIPES and not RECIPES[recipe].steps:
        given["steps"] = 0
    config = make(**given)
    runs = [finish(config, task=task_of(seed))[0] for seed in (2, 3)]
    first, second = (without_contents(contents(folder)) for folder in runs)
    assert first == second
    detector, images = load_run(runs[0].path).detector(), [task_of(seed).test for seed in (4, 5)]
    scores = [detector.anomaly_scores([split.load(row) for row in range(len(split))]) for split in images]
    assert np.array_equal(*scores) and np.ptp(scores[0]) > 0
    if detector.has_maps:
        maps = [detector.anomaly_maps([split.load(row) for row in range(len(split))]) for split in images]
        side = maps[0].shape[1]
        assert np.array_equal(*maps) and detector.region is not None
        assert not maps[0][:, ~detector.region.inside((side, side))].any() and maps[0].any()


def test_without_a_region_they_do(tiny: Make, finish: Finish) -> None:
    """A test above that cannot fail: images that differ outside alone must differ where all of them counts."""
    config = tiny(recipe="frozen", steps=0, dataset=GIVEN_IMAGES, normal_class=None)
    scores = [load_run(finish(config, task=task_of(seed))[0].path).final().scores for seed in (2, 3)]
    assert not np.array_equal(*scores)


@pytest.mark.parametrize("recipe", SEGMENTERS)
def test_a_defect_is_found_inside_alone(spot: Make, finish: Finish, region: Path, recipe: str) -> None:
    """A region that blinds a detector; a map whose heat lies beside the defect."""
    rng = np.random.default_rng(0)
    normal = rng.integers(100, 130, (20, HEIGHT, WIDTH, 3), dtype=np.uint8)
    config = spot(recipe=recipe, roi=str(region), image_size=64, feature_norm="none").to_json()
    fields = ("backbone", "image_size", "feature_norm", "recipe", "roi", "device")
    detector = PandaDetector(**{name: config[name] for name in fields}).fit(list(normal))
    bad, missed = normal[0].copy(), normal[0].copy()
    bad[10:16, 9:15] = missed[0:6, 36:44] = (255, 0, 60)
    scores = detector.anomaly_scores([normal[0], bad, missed])
    assert scores[1] > scores[0] == scores[2]
    map_of_bad = detector.anomaly_maps([bad])[0]
    row, column = np.unravel_index(map_of_bad.argmax(), map_of_bad.shape)
    assert 12 <= row <= 34 and 6 <= column <= 30  # of 64: the defect lies at rows 18 to 28, columns 13 to 22


def test_a_run_keeps_its_region(spot: Make, finish: Finish, region: Path) -> None:
    """A run that cannot be verified, scored or exported once the file that was named is gone, or that takes another."""
    folder, _ = finish(spot(roi=str(region), dataset="synthetic:digits"))
    region.unlink()
    loaded = load_run(folder.path)
    assert loaded.region is not None and loaded.config.roi.startswith(str(folder.path / "roi.png#sha256="))
    assert json.loads(folder.config_file.read_text())["roi"] == f"roi.png#sha256={loaded.region.sha256}"
    np.testing.assert_array_equal(recompute(loaded).scores, loaded.final().scores)
    Image.fromarray(np.eye(2 * HEIGHT, dtype=bool)).save(folder.path / "roi.png")
    with pytest.raises(UsageError, match=r"roi\.png.* has changed: .*start anew"):
        load_run(folder.path).detector()


def square(tmp_path: Path, side: int = 8) -> str:
    """Return the file of a region for square images: all but a rim."""
    marked = np.zeros((side, side), bool)
    marked[1:-2, 1:-1] = True
    Image.fromarray(marked).save(tmp_path / "square.png")
    return str(tmp_path / "square.png")


def test_a_run_goes_on_with_its_region(
    tiny: Make, finish: Finish, contents: Callable[..., Any], tmp_path: Path
) -> None:
    """A run that is resumed on whole images, or on those of a file that has changed since."""
    whole = contents(finish(tiny(roi=square(tmp_path), runs_dir=str(tmp_path / "whole")))[0])
    seen: list[Stepped] = []

    def should_stop() -> bool:
        return len(seen) >= 3

    for event in run(tiny(roi=square(tmp_path)), should_stop=should_stop):
        if isinstance(event, Stepped):
            seen.append(event)
    assert isinstance(event, RunStopped)
    Path(square(tmp_path)).unlink()
    (folder,) = list_runs(tiny().runs_dir)
    assert isinstance(list(resume(folder))[-1], RunFinished)
    found = contents(folder)
    for events in (whole["events"], found["events"]):
        del events[0]["config"]["roi"]  # the file that was named, and the run's own
    assert found == whole


@pytest.mark.parametrize("recipe", ["frozen", "ocsvm", *SEGMENTERS])
def test_graphs_and_bundles_have_it(tiny: Make, spot: Make, finish: Finish, tmp_path: Path, recipe: str) -> None:
    """A file that looks at all of an image, or that forgets the region once it is elsewhere."""
    make = spot if recipe in SEGMENTERS else tiny
    steps = {} if recipe in SEGMENTERS else {"steps": 0}
    folder, _ = finish(make(recipe=recipe, roi=square(tmp_path, 50), dataset="synthetic:digits", **steps))
    loaded = load_run(folder.path)
    detector, graph = loaded.detector(), graph_of(loaded.detector())
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (5, graph.side, graph.side, 3), dtype=np.uint8)
    with torch.no_grad():
        found = graph(torch.from_numpy(images))
    scores = (found[0] if detector.has_maps else found).numpy()
    np.testing.assert_allclose(scores, detector.anomaly_scores(list(images)), rtol=1e-4, atol=1e-5)
    if detector.has_maps:
        np.testing.assert_allclose(found[1].numpy(), detector.anomaly_maps(list(images)), rtol=1e-4, atol=1e-5)
    bundle = write_bundle(loaded, tmp_path / "detector.zip")
    opened = load_bundle(bundle.path)
    assert np.array_equal(opened.anomaly_scores(list(images)), detector.anomaly_scores(list(images)))
    assert opened.region is not None and "(array)" in repr(opened) and clone(opened).get_params()["roi"] is not None


def test_a_graph_says_what_counts(spot: Make, finish: Finish, tmp_path: Path) -> None:
    """Small images, which are painted over before they are resized; a file that does not say so."""
    loaded = load_run(finish(spot(roi=square(tmp_path)))[0].path)
    written = write_network(loaded, tmp_path / "a.pt", "torchscript")  # of digits, 8 x 8, seen at 32 x 32
    assert written.difference <= 1e-4 and written.images == "test images of the run"
    extra = {"panda_core.json": ""}
    torch.jit.load(str(written.path), _extra_files=extra)
    about = json.loads(extra["panda_core.json"])
    assert loaded.region is not None and about["region_sha256"] == loaded.region.sha256
    assert "8 x 8 pixels" in about["region"] and "fewer than 32 pixels" in about["region"]


def test_an_image_in_another_shape_is_refused(tiny: Make, finish: Finish, region: Path, tmp_path: Path) -> None:
    """A stretched region; a run that stops at one photo that was cut otherwise."""
    task = task_of(2)
    odd = ArrayImages([task.train.load(0), np.zeros((WIDTH, HEIGHT, 3), np.uint8)], ["a.png", "odd.png"])
    many = [*(task.train.load(row) for row in range(20)), odd.load(1)]
    mixed = OneClassTask(ArrayImages(many, [f"{row}.png" for row in range(21)]), task.test, task.is_anomaly)
    config = tiny(recipe="frozen", steps=0, dataset=GIVEN_IMAGES, normal_class=None, roi=str(region))
    folder, events = finish(config, task=mixed)
    (skipped,) = [event for event in events if isinstance(event, ImagesSkipped)]
    assert skipped.names == ["20.png"] and "36 x 44 pixels, the region of interest 88 x 72" in skipped.reasons[0]
    detector = load_run(folder.path).detector()
    with pytest.raises(UnreadableImage, match="`image 0` has 36 x 44 pixels"):
        detector.anomaly_scores([odd.load(1)])
    with pytest.raises(UnreadableImage, match="not the same shape"):
        PandaDetector(roi=region, recipe="frozen").fit(many)
    Image.fromarray(odd.load(1)).save(tmp_path / "odd.png")
    from panda_core.runs.score import score_files

    (scored,) = score_files(detector, [("odd.png", tmp_path / "odd.png")])
    assert scored.score is None and scored.verdict.startswith("unreadable: `odd.png` has 36 x 44 pixels")


@pytest.mark.parametrize(
    ("value", "told"), [(0, "marks nothing"), (255, "marks everything")], ids=["nothing", "everything"]
)
def test_a_region_of_all_or_nothing_is_refused(tiny: Make, tmp_path: Path, value: int, told: str) -> None:
    """A file that was saved empty, and a run that then learns from paint."""
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(UsageError, match=f"{told}.*leave `--roi` out"):
        resolve(tiny(roi=str(tmp_path / "flat.png")))
    with pytest.raises(UsageError, match=told):
        PandaDetector(roi=np.full((8, 8), value > 0)).fit([np.zeros((8, 8, 3), np.uint8)] * 4)


def test_what_is_no_region_is_refused(tiny: Make, tmp_path: Path) -> None:
    """A traceback for a wrong path, a text file, an array of another kind; an option that one kind of run ignores."""
    with pytest.raises(DataMissing, match=r"no region of interest `.*gone\.png`"):
        resolve(tiny(roi=str(tmp_path / "gone.png")))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"text\.png.*white and all else black"):
        resolve(tiny(roi=str(tmp_path / "text.png")))
    with pytest.raises(UsageError, match=r"bool array.*int64.*\(3, 3\)"):
        PandaDetector(roi=np.eye(3, dtype=int)).fit([np.zeros((8, 8, 3), np.uint8)] * 4)
    with pytest.raises(UsageError, match="`roi` is for detectors of one class"):
        resolve(tiny(recipe="resad", roi=square(tmp_path)))


def test_defects_outside_are_named_and_not_measured(spot: Make, finish: Finish, tmp_path: Path) -> None:
    """Pixels that nobody looks at in a figure of how well defects are found."""
    marked = np.zeros((8, 8), bool)
    marked[:, :4] = True
    Image.fromarray(marked).save(tmp_path / "left.png")
    folder, _ = finish(spot(roi=str(tmp_path / "left.png")))
    loaded = load_run(folder.path)
    masks, has_mask = loaded.masks(), loaded.split.has_mask
    assert masks is not None and has_mask is not None and loaded.split.is_anomaly is not None
    outside = []
    for row, anomalous in enumerate(loaded.split.is_anomaly):
        mask = masks.load(row)
        if anomalous and mask is not None and not mask[:, : mask.shape[1] // 2].any():
            outside.append(row)
    assert outside and [row for row, has in enumerate(has_mask) if not has] == outside
    assert sum("outside of the region" in reason for _, reason in loaded.unused_masks) == len(outside)
    assert isinstance(loaded.metrics, dict) and loaded.metrics["marked_images"] == len(has_mask) - len(outside)


def test_a_background_of_whole_photographs_is_refused(tmp_path: Path) -> None:
    """Normal images of which a part counts, compared with photographs that were not painted over."""
    scorer, roi = "relative-mahalanobis", square(tmp_path)
    config = RunConfig(dataset="digits", recipe="frozen", scorer=scorer, roi=roi, set={"background": "bundled"})
    with pytest.raises(UsageError, match="No background of `efficientnet_lite0` with a region of interest comes with"):
        resolve(config)
    with pytest.raises(DataMissing, match="fetch its 1,000 files"):
        resolve(config.replace(set={}))


def test_range_of_the_data_is_refused(tmp_path: Path) -> None:
    """A black and a white that come from what does not count."""
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 4096, (8, 8)).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    detector = PandaDetector(roi=square(tmp_path), set={"range": "data"})
    with pytest.raises(PandaError, match=r"looks at whole images.*LOW-HIGH"):
        detector.fit(paths)
