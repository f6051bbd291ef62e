"""Detectors: the same scores as the run they come from, and thresholds that mean what they say."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import PandaDetector, RunConfig, UnreadableImage, UsageError, load_run
from panda_core.cli import main
from panda_core.errors import PandaError
from panda_core.methods.table import RECIPES
from panda_core.runs.calibration import Calibration

Tiny = Callable[..., RunConfig]
ROOT = Path(__file__).resolve().parents[2]


def test_a_runs_detector_gives_the_runs_scores(digits_run: Path) -> None:
    """A detector that prepares, normalises or compares otherwise than its run did."""
    loaded = load_run(digits_run)
    images = [loaded.images("test").load(row) for row in range(40)]
    detector = loaded.detector()
    scores = detector.anomaly_scores(images)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, loaded.final().scores, rtol=1e-3)
    np.testing.assert_array_equal(detector.held_out_scores, loaded.final().held_out_scores)
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(detector.anomaly_scores([images[row] for row in order]), scores[order], rtol=1e-3)
    alone = [detector.anomaly_scores([image])[0] for image in images[:5]]
    np.testing.assert_allclose(alone, scores[:5], rtol=1e-3)


@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipes_detector_gives_the_runs_scores(
    tiny: Tiny, finish: Callable[..., Any], recipe: str, norm: str
) -> None:
    """A stop rule that the detector does not know, or a checkpoint that is missing from it."""
    options = {"ses": "A", "ses_start": "include"} if recipe == "panda-ses" and norm == "l2" else {}
    pace = {"steps": 6, "lr": 1.0} if RECIPES[recipe].steps else {"steps": None}
    folder, _ = finish(tiny(recipe=recipe, feature_norm=norm, set=options, **pace))
    loaded = load_run(folder.path)
    images = [loaded.images("test").load(row) for row in range(20)]
    np.testing.assert_allclose(loaded.detector().anomaly_scores(images), loaded.final().scores, rtol=1e-4)


def test_a_recording_says_that_it_keeps_no_detector(
    tiny: Tiny, finish: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is whole, and is called damaged."""
    folder, _ = finish(tiny(recipe="frozen", steps=None))
    for name in ("checkpoints", "galleries"):
        shutil.rmtree(folder.path / name)
    folder.space_file.unlink()
    assert main(["score", str(folder.path), str(ROOT / "assets/screenshots/home.png")]) == 1
    said = capsys.readouterr().err
    assert "keeps what was measured and no detector" in said and "python -m panda_core run" in said
    assert "damaged" not in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("start", ["exclude", "include"])
def test_a_lost_gallery_is_noticed(tiny: Tiny, finish: Callable[..., Any], start: str) -> None:
    """Sample-wise stopping over fewer checkpoints than the run's, which gives other scores without a word."""
    folder, _ = finish(tiny(recipe="panda-ses", set={"ses_start": start}))
    (folder.path / "galleries" / "000004.safetensors").unlink()
    with pytest.raises(PandaError, match="000004"):
        load_run(folder.path).detector()


def normals(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return dark images with a bright left half."""
    images = np.random.default_rng(seed).integers(0, 40, (count, 24, 24, 3), dtype=np.uint8)
    images[:, :, :12] += 180
    return list(images)


def anomalies(count: int) -> list[np.ndarray]:
    return [np.rot90(image).copy() for image in normals(count, seed=9)]


@pytest.mark.parametrize("recipe", ["frozen", "panda-early", "panda-ses"])
def test_a_detector_learns_from_images(tiny_backbone: str, tmp_path: Path, recipe: str) -> None:
    """Polarity the other way round; a threshold that calls everything, or nothing, anomalous."""
    options: dict[str, Any] = {} if recipe == "frozen" else {"steps": 4}
    detector = PandaDetector(recipe=recipe, backbone=tiny_backbone, image_size=32, device="cpu", **options)
    assert detector.fit(normals(60)) is detector
    good, bad = detector.anomaly_scores(normals(100, seed=5)), detector.anomaly_scores(anomalies(20))
    assert bad.min() > good.max()
    assert detector.predict(anomalies(20)).tolist() == [1] * 20
    assert detector.predict(normals(100, seed=5)).mean() < 0.2  # nineteen calibrating images promise 1 in 20
    assert len(detector.held_out_scores) == (60 if recipe == "frozen" else 19)
    assert detector.threshold(0.3) == Calibration(detector.held_out_scores).threshold(0.3)
    assert detector.percentiles(bad).tolist() == [100.0] * 20
    assert not list(tmp_path.rglob("events.jsonl")), "nothing is left behind"


def test_a_learned_detector_knows_its_config(tiny_backbone: str) -> None:
    """A detector that cannot say how it was made."""
    detector = PandaDetector(backbone=tiny_backbone, image_size=32, steps=2, runs_dir="elsewhere").fit(normals(8))
    assert detector.config.set["k"] == 2 and detector.config.lr is not None
    assert detector.config.runs_dir == "elsewhere"


def test_the_same_image_in_any_form(tiny_backbone: str, tmp_path: Path) -> None:
    """An array, a PIL image, a path and bytes scored differently."""
    detector = PandaDetector(backbone=tiny_backbone, image_size=32, steps=0).fit(normals(8))
    (image,) = anomalies(1)
    Image.fromarray(image).save(tmp_path / "a.png")
    content = io.BytesIO((tmp_path / "a.png").read_bytes())
    forms = [image, Image.fromarray(image), tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(content)]
    scores = detector.anomaly_scores(forms)
    np.testing.assert_allclose(scores, scores[0], rtol=1e-5)


@pytest.mark.parametrize("count", [2, 3])
def test_fewer_than_four_images_give_scores_but_no_threshold(tiny_backbone: str, count: int) -> None:
    """A threshold from no image; a failure where scores alone can be had."""
    detector = PandaDetector(backbone=tiny_backbone, image_size=32, steps=2).fit(normals(count))
    assert detector.anomaly_scores(anomalies(3)).min() > detector.anomaly_scores(normals(2)).max()
    assert len(detector.held_out_scores) == 0
    with pytest.raises(UsageError, match="at least one held-out normal image"):
        detector.predict(anomalies(1))
    with pytest.raises(UsageError, match="at least one held-out normal image"):
        detector.percentiles(detector.anomaly_scores(anomalies(1)))


def test_what_cannot_be_learned_from(tiny_backbone: str) -> None:
    """A path taken for a list of its letters, an IndexError, or a detector that answers before it has learned."""
    detector = PandaDetector(backbone=tiny_backbone, image_size=32, steps=2)
    with pytest.raises(UsageError, match="learned nothing yet"):
        detector.anomaly_scores(normals(1))
    with pytest.raises(UsageError, match="At least 2 normal images are needed; got 1"):
        detector.fit(normals(1))
    for wrong in ("images/good", Path("images/good"), (image for image in normals(3))):
        with pytest.raises(UsageError, match="must be a list of images"):
            detector.fit(wrong)  # type: ignore[arg-type]
    with pytest.raises(UnreadableImage, match=r"nothing\.png"):
        detector.fit([*normals(3), "nothing.png"])
    with pytest.raises(UsageError, match="Unknown recipe"):
        PandaDetector(recipe="panda", backbone=tiny_backbone).fit(normals(4))


def test_what_cannot_be_scored(tiny_backbone: str) -> None:
    """A list expected and a single image given; nothing to score."""
    detector = PandaDetector(backbone=tiny_backbone, image_size=32, steps=0).fit(normals(4))
    with pytest.raises(UsageError, match="must be a list of images"):
        detector.anomaly_scores("image.png")  # type: ignore[arg-type]
    with pytest.raises(UnreadableImage, match=r"missing\.png"):
        detector.anomaly_scores([normals(1)[0], "missing.png"])
    assert detector.anomaly_scores([]).shape == (0,)
