"""`--roi` on the command line: from a folder of photos to verdicts, corrections, reports and answers over HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, load_run
from panda_core.cli import main
from panda_core.figures.heatmaps import FADED
from panda_core.runs.folder import RunFolder
from panda_core.serve import _Refused, _Scorer


@pytest.fixture
def folder(tiny_backbone: str, tmp_path: Path) -> Path:
    """Return a folder of 20 photos of 24 x 32 pixels, with a region beside it: the left half."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        Image.fromarray(pixels(number)).save(photos / f"{number}.png")
    marked = np.zeros((24, 32), np.uint8)
    marked[:, :16] = 255
    Image.fromarray(marked).save(tmp_path / "left.png")
    return photos


def pixels(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RunFolder:
    """Return a run with the region, made by the command."""
    flags = ["--backbone", "tiny", "--image-size", "32", "--roi", str(tmp_path / "left.png"), "--device", "cpu"]
    assert main(["segment", "--dataset", f"folder:{folder}", *flags, "--runs-dir", str(tmp_path / "runs")]) == 0
    capsys.readouterr()
    (made,) = (tmp_path / "runs").glob("2*")
    return RunFolder(made)


def test_scores_watch_the_left_half_alone(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A score that depends on what does not count; a photo of another shape that gets a verdict, or ends everything."""
    same, other, odd = pixels(50), pixels(50), pixels(51, 32, 24)
    other[:, 16:] = pixels(60)[:, 16:]
    for name, image in (("same", same), ("other", other), ("odd", odd)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in ("same", "other", "odd")]
    assert main(["score", str(run.path), *paths, "--json"]) == 0
    first, second, third = json.loads(capsys.readouterr().out)
    assert first["score"] == second["score"] is not None and first["verdict"] == second["verdict"]
    assert third["score"] is None and "24 x 32 pixels, the region of interest 32 x 24" in third["verdict"]
    page = tmp_path / "page.html"
    assert main(["report", str(run.path), "-o", str(page)]) == 0 and FADED in page.read_text()
    assert main(["verify", str(run.path)]) == 0
    Image.fromarray(np.full((24, 32, 3), 255, np.uint8)).save(tmp_path / "white.png")
    page = tmp_path / "scored.html"
    assert main(["score", str(run.path), str(tmp_path / "white.png"), "--report", str(page)]) == 0
    assert "Rejected" in page.read_text() and FADED in page.read_text()


def test_a_correction_keeps_the_region(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that is learned again on whole photos; one that needs the file that was named at first."""
    (tmp_path / "left.png").unlink()
    Image.fromarray(pixels(71, 32, 24)).save(tmp_path / "odd.png")
    assert main(["accept", str(run.path), str(tmp_path / "odd.png")]) == 1
    assert "not the same shape" in capsys.readouterr().err
    Image.fromarray(pixels(70)).save(tmp_path / "fine.png")
    assert main(["accept", str(run.path), str(tmp_path / "fine.png")]) == 0
    corrected = load_run(run.path)
    assert corrected.folder.path != run.path and corrected.region is not None
    assert corrected.region.sha256 == load_run(run.path).region.sha256  # type: ignore[union-attr]
    assert (corrected.folder.path / "roi.png").is_file()
    assert len(corrected.split.train) + len(corrected.split.test) == 21


def test_over_http_another_shape_is_refused(run: RunFolder) -> None:
    """A status of 500, or a score, for a photo that nobody can judge."""

    def body(image: np.ndarray) -> bytes:
        held = io.BytesIO()
        Image.fromarray(image).save(held, "PNG")
        return held.getvalue()

    scorer = _Scorer(load_run(run.path).detector(), 0.05)
    answer: dict[str, Any] = scorer._judge(body(pixels(50)), wants_map=True)
    assert answer["score"] is not None and answer["map"]
    with pytest.raises(_Refused, match="the body` has 24 x 32 pixels, the region of interest 32 x 24") as refused:
        scorer._judge(body(pixels(50, 32, 24)), wants_map=False)
    assert refused.value.status == 422


def test_a_wrong_file_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: Callable[..., RunConfig]
) -> None:
    """A traceback, or a run folder that is made before anybody looks at the region."""
    flags = ["--dataset", f"folder:{folder}", "--backbone", "tiny", "--runs-dir", str(tmp_path / "runs")]
    for command in ("run", "segment"):
        assert main([command, *flags, "--roi", str(tmp_path / "gone.png")]) == 2
        told = capsys.readouterr().err
        assert "no region of interest" in told and "gone.png" in told and len(told.strip().splitlines()) == 1
    for named, why in (("https://example.org/roi.png", "is an address"), (str(folder), "is a folder")):
        assert main(["run", *flags, "--roi", named]) == 2
        told = capsys.readouterr().err
        assert why in told and named in told and len(told.strip().splitlines()) == 1
    assert main(["generalize", *flags, "--roi", str(tmp_path / "left.png")]) == 2
    assert "learns from several" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
