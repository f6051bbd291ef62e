"""One image, one threshold, one percentile, one verdict: whatever surface is asked, for every recipe that scores."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pages.shared.examine.scores import FINAL, scores_of
from pages.shared.own.results import judged
from pages.shared.segment.maps import joined
from panda_core import RunConfig, load_bundle, load_run
from panda_core.cli import main
from panda_core.few_shot.table import GENERALISERS
from panda_core.methods.table import RECIPES
from panda_core.report.run_report import report_of
from panda_core.runs.folder import RunFolder
from panda_core.segmentation.table import SEGMENTERS

RATES = (0.05, 0.3)
RESAD = {"seen": "4@digits,5@digits", "seen_limit": 8, "blocks": 1, "position_width": 8}
KEYS = [*RECIPES, *SEGMENTERS, *GENERALISERS]


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Path:
    """Return a folder of one's own, train and test apart, with anomalies and too few normal images to promise 5 %."""
    rng = np.random.default_rng(0)
    for place, count, bright in (("train/good", 12, 0), ("test/good", 10, 0), ("test/bad", 5, 90)):
        folder = tmp_path / "parts" / place
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(40, 120, (40, 40, 3), dtype=np.uint8)
            pixels[10:20, 10:30] += np.uint8(bright)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "parts"


@pytest.fixture
def config_of(tiny: Callable[..., RunConfig], folder_of_images: Path) -> Callable[[str], RunConfig]:
    """Return a function (recipe) -> the config of a short run of it on the folder; few-shot runs are on digits."""

    def make(recipe: str) -> RunConfig:
        own: dict[str, Any] = {"dataset": f"folder:{folder_of_images}", "normal_class": None}
        still = dict.fromkeys(("steps", "batch_size", "lr", "eval_every"))
        if recipe in GENERALISERS:
            return tiny(recipe=recipe, eval_every=None, lr=1e-3, steps=2, set=RESAD)
        if recipe in SEGMENTERS:
            return tiny(recipe=recipe, **own, **still)
        changes = {} if RECIPES[recipe].steps else {"steps": None}
        if "outliers" in RECIPES[recipe].options:
            changes["set"] = {"outliers": "imagenet_sample"}
        return tiny(recipe=recipe, **own, **changes)

    return make


def table_of(
    capsys: pytest.CaptureFixture[str], run: Path, images: Path, how: str, *flags: str
) -> list[dict[str, Any]]:
    """Return what `score RUN IMAGES --json` or `--csv` prints, as numbers."""
    capsys.readouterr()
    assert main(["score", str(run), str(images), how, *flags]) == 0
    out = capsys.readouterr().out
    rows: list[dict[str, Any]] = json.loads(out) if how == "--json" else list(csv.DictReader(io.StringIO(out)))
    return [{**row, "score": float(row["score"]), "percentile": float(row["percentile"])} for row in rows]


@pytest.mark.parametrize("recipe", KEYS)
def test_every_surface_gives_the_same_verdict(
    recipe: str,
    config_of: Callable[[str], RunConfig],
    finish: Callable[..., tuple[RunFolder, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A page, a command, a file or the API that thinks of a threshold, a percentile or a verdict of its own."""
    folder, _ = finish(config_of(recipe))
    run = load_run(folder.path)
    images = tmp_path / "new"
    images.mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        pixels = rng.integers(30, 40 + 40 * number, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    paths = sorted(images.iterdir())
    detector, calibration = run.detector(), run.calibration
    assert calibration.images > 0
    alone = np.concatenate([detector.anomaly_scores([path]) for path in paths])
    bundle = tmp_path / "detector.zip"
    assert main(["export", str(folder.path), str(bundle), "--format", "bundle"]) == 0
    opened = load_bundle(bundle)
    assert run.metrics is not None
    assert run.metrics["score_threshold"] == calibration.threshold() == folder.read("calibration.json")["threshold"]
    assert run.metrics["calibration"] == calibration.summary()
    assert "19 are needed" in calibration.warning or recipe in GENERALISERS
    for rate in RATES:
        threshold = calibration.threshold(rate)
        assert detector.threshold(rate) == threshold == opened.threshold(rate)
        wanted = [calibration.verdict(float(score), rate) for score in alone]
        assert [("normal", "anomalous")[flag] for flag in detector.predict(paths, false_alarm_rate=rate)] == wanted
        assert [("normal", "anomalous")[flag] for flag in opened.predict(paths, false_alarm_rate=rate)] == wanted
        for place in (folder.path, bundle):
            for how in ("--json", "--csv"):
                rows = table_of(capsys, place, images, how, "--false-alarm-rate", str(rate))
                assert [row["verdict"] for row in rows] == wanted
                percentiles = [calibration.percentile(float(score)) for score in alone]
                assert [row["percentile"] for row in rows] == percentiles
        page = judged(run, table_of(capsys, folder.path, images, "--json"), None, rate)
        assert [row["verdict"] for row in page] == wanted
    if not run.has_maps:  # Examine
        final = scores_of(run, FINAL, RATES[1])
        assert final.threshold == pytest.approx(calibration.threshold(RATES[1]) / final.unit)
        for image, score in enumerate(run.final().scores):
            assert final.rejected[image] == (calibration.verdict(float(score), RATES[1]) == "anomalous")
            assert final.percentile(image) == calibration.percentile(float(score))
    else:  # Segment
        step = run.segmented[-1].step
        arrays, maps = run.patch_arrays(step), run.maps(step)
        view = joined(run, list(run.split.test), arrays.scores, arrays.peaks, maps, calibration)
        assert view.calibration.threshold(RATES[1]) == detector.threshold(RATES[1])
    capsys.readouterr()
    assert main(["show", str(folder.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibration"] == calibration.summary()
    assert f"Threshold {calibration.threshold():.4g}" in report_of(run)


@pytest.mark.parametrize("recipe", [key for key in KEYS if key not in GENERALISERS])
def test_an_image_that_calibrates_is_not_measured(
    recipe: str, config_of: Callable[[str], RunConfig], finish: Callable[..., tuple[RunFolder, Any]]
) -> None:
    """An image that sets the threshold and is counted among the test images that it rejects, or learned from."""
    folder, _ = finish(config_of(recipe))
    split = load_run(folder.path).split
    calibrating = {split.train[row] for row in split.held_out}
    assert calibrating.isdisjoint(split.test)
    reserved = {split.train[row] for row in split.reserved}
    assert len(reserved) == 5 and reserved <= calibrating and all("test/good" in name for name in reserved)
    assert reserved.isdisjoint({split.train[row] for row in split.fitted})
    assert len(split.test) == 10 and sum(split.is_anomaly) == 5
    assert load_run(folder.path).calibration.images == len(split.held_out)
