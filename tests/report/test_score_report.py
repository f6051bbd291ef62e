"""The report of a scored folder: the worst with pictures, all in the table, however many, whatever they are called."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, load_run
from panda_core.cli import main
from panda_core.report import score_report
from panda_core.report.score_report import CSV_COLUMNS, PICTURES, ScoreReport
from panda_core.runs.detector import PandaDetector
from panda_core.runs.score import ScoredImage, map_of, score_decoded

NASTY = '<img src=x onerror=alert(1)>"&'


@pytest.fixture
def the_run(finish: Callable[..., Any], spot: Callable[..., RunConfig]) -> Path:
    return Path(finish(spot())[0].path)


@pytest.fixture
def detector(the_run: Path) -> PandaDetector:
    return load_run(the_run).detector()


def scored(detector: PandaDetector, name: str, seed: int, size: tuple[int, int] = (30, 40)) -> ScoredImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    (one,) = score_decoded(detector, [(name, pixels)])
    return one


def table_of(page: str) -> list[dict[str, str]]:
    """Return the rows of the table within a page."""
    (data,) = re.findall(r'href="data:text/csv;base64,([^"]+)"', page)
    return list(csv.DictReader(io.StringIO(base64.b64decode(data).decode(), newline="")))


def test_the_command_writes_a_page_that_stands_alone(the_run: Path, tmp_path: Path) -> None:
    """A page that asks a network, or runs a file name; counts that are not those of the rows; a reject without map."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("=1+1.png", "<b>&amp.png", "c.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_text("text")
    assert main(["score", str(the_run), str(folder), "--json", "--report", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"""(src|href)=["']?(?!data:)\w""", page) and "default-src 'none'" in page
    assert "<b>&amp" not in page and "&lt;b&gt;&amp;amp.png" in page and len(page) < 1_000_000
    rows = table_of(page)
    assert list(rows[0]) == list(CSV_COLUMNS) and len(rows) == 4
    assert [row["score"] for row in rows if "broken" in row["path"]] == [""]
    rejected = sum(row["verdict"] == "anomalous" for row in rows)
    assert rejected and page.count('<figure class="anomalous">') == rejected
    assert f"<b>{rejected}</b>rejected" in page and "<b>1</b>not read" in page and "95 %" in page
    calibration = load_run(the_run).calibration
    assert f"{calibration.threshold():.4g}" in page and calibration.sentence() in page
    for wrong in ("page.txt", str(tmp_path)):
        assert main(["score", str(the_run), str(folder), "--report", wrong]) == 2


def test_boxes_are_in_pixels_of_the_photo(detector: PandaDetector) -> None:
    """Areas of the network's small input, squeezed into a square, which nobody finds on the part."""
    one = scored(detector, "a", 0, (300, 200))
    values = map_of(detector, one)
    assert values is not None and one.verdict == "anomalous"
    level = float(np.quantile(values, 0.9))
    learned = detector.learned_
    calibration = dataclasses.replace(detector.calibration, map_middle=level)
    detector.learned_ = dataclasses.replace(learned, calibration=calibration)  # type: ignore[type-var]
    report = ScoreReport(detector, "run")
    report.add(one)
    (row,) = table_of(report.page())
    width, height, left, top = map(int, re.findall(r"\d+", row["largest box"]))
    assert left + width <= 200 and top + height <= 300 and int(row["its area"]) <= width * height
    above = values > level
    areas = [reject.regions for *_, reject in report._worst]
    covered = sum(region.area for region in areas[0])
    assert covered == pytest.approx(300 * 200 * above.mean(), rel=0.05)


def test_the_worst_have_pictures_and_all_are_in_the_table(
    detector: PandaDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of gigabytes; the first instead of the worst; a name that runs as a program; memory for each image."""
    monkeypatch.setattr(score_report, "ROWS", 20)
    report = ScoreReport(detector, NASTY)
    one = scored(detector, "", 1)
    scores = np.random.default_rng(0).permutation(2_000) + 100.0
    for number, score in enumerate(scores):
        report.add(dataclasses.replace(one, name=f"{NASTY}{number}", score=float(score)))
    page = report.page()
    assert len(report._worst) == PICTURES and page.count("<figure") == PICTURES and len(page) < 20_000_000
    assert NASTY not in page
    worst = np.argsort(-scores)[:PICTURES]
    assert re.findall(r"alert\(1\)&gt;&quot;&amp;(\d+)<br>", page) == [str(number) for number in worst]
    rows = table_of(page)
    assert len(rows) == 2_000 and [float(row["score"]) for row in rows] == scores.tolist()
    assert f"And {2_000 - PICTURES - 20:,} more" in page


def test_a_detector_without_maps_or_threshold(detector: PandaDetector) -> None:
    """A division by nothing; a box without a map."""
    report = ScoreReport(detector, "run")
    assert "<b>0</b>images" in report.page() and "<figure" not in report.page()
    flat = dataclasses.replace(scored(detector, "a", 0), result=None)
    report.add(flat)
    assert report.page().count("<figure") == 1 and table_of(report.page())[0]["largest box"] == ""
