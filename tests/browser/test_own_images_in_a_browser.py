"""The Inspect page as people meet it: real photos dropped, learned from, scored, taken away, painted on, deleted."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core.datasets import find_dataset
from tests.browser.conftest import share_of_screen

pytestmark = pytest.mark.browser

FIELD, SCORE = ".st-key-own_images input[type=file]", "[class*=st-key-own_others] input[type=file]"
# The first element of a kind inside of a component, each of which has a root of its own.
INSIDE = (
    """(found) => [...document.querySelectorAll('*')].map((e) => e.shadowRoot?.querySelector(found)).find(Boolean)"""
)


def cells(count: int, *, functional: bool) -> list[str]:
    """Return the places of photos of solar cells that came with the installation."""
    splits = find_dataset("elpv").open(Path("nowhere"), "mono", 0)
    rows = np.flatnonzero((splits.test_labels == splits.normal_label) == functional)[:count]
    return [str(splits.test.paths[row]) for row in rows]  # type: ignore[attr-defined]


def test_from_home_to_verdicts_and_nothing_left(shared_server: Any, visit: Any, tmp_path: Path) -> None:
    """Guards the whole way by mouse, from Home: drop, pictures at once, mark a bad one, learn, see what it is worth,
    drop new ones, take everything away, and delete: then nothing of it is on the disk."""
    seen = visit()
    page = seen.page
    page.goto(shared_server.url)
    page.get_by_test_id("stTopNavLink").filter(has_text="Inspect").click()
    note = tmp_path / "note.txt"
    note.write_text("no image")
    page.locator(FIELD).set_input_files([*cells(12, functional=True), str(note)], timeout=60_000)
    page.get_by_text("1 file: could not be read").wait_for(timeout=60_000)
    page.locator(".tiles button.normal").nth(11).wait_for()
    page.locator(".tiles button.normal").nth(3).click()  # on the picture itself
    page.get_by_text("11 good, 1 bad").wait_for(timeout=20_000)
    page.get_by_role("button", name="Learn what is normal").click()
    page.get_by_text("How far to trust it").wait_for(timeout=120_000)
    page.locator(".tiles button.anomalous .badge").first.wait_for()
    page.set_viewport_size({"width": 1440, "height": 900})
    seen.settle()
    assert share_of_screen(page, ".st-key-viewer") >= 0.5
    page.locator(".tiles button.normal").first.click()
    page.get_by_role("button", name="It is bad: learn again").wait_for(timeout=60_000)

    page.get_by_test_id("stMain").get_by_text("New photos", exact=True).click()
    defective = cells(2, functional=False)
    page.locator(SCORE).set_input_files(defective)
    page.get_by_role("heading", name="What was found").wait_for(timeout=120_000)

    def downloaded(label: str) -> Path:
        seen.settle()  # a button that is drawn anew at that moment takes no click
        with page.expect_download(timeout=120_000) as given:
            page.get_by_role("button", name=label, exact=True).click()
        return Path(given.value.path())

    names = {Path(path).name for path in defective}
    assert {row["name"] for row in csv.DictReader(downloaded("Verdicts as CSV").open())} == names
    assert {row["name"] for row in json.loads(downloaded("Verdicts as JSON").read_text())} == names
    with zipfile.ZipFile(downloaded("Download all maps")) as archive:
        assert "overlays/0001.png" in archive.namelist() and archive.testzip() is None
    page.get_by_test_id("stMain").get_by_text("Use it elsewhere", exact=True).click()
    page.get_by_role("button", name="Write detector").click()
    page.get_by_role("button", name="Download detector").wait_for(timeout=120_000)
    with zipfile.ZipFile(downloaded("Download detector")) as archive:
        assert "manifest.json" in archive.namelist() and archive.testzip() is None

    page.get_by_role("button", name="Delete everything of mine").click()
    page.get_by_role("button", name="Delete everything", exact=True).wait_for()
    page.mouse.move(2, 2)  # the first button's help closes, which may lie over the second
    page.get_by_role("button", name="Delete everything", exact=True).click()
    page.get_by_text("Everything of yours is deleted").wait_for(timeout=60_000)
    runs = shared_server.folder / "runs"
    left = " ".join(f"{path} {path.read_bytes()!r}" for path in runs.rglob("*") if path.is_file())
    assert not [name for name in (*names, "cell0", "note.txt") if name in left]
    seen.check()


def painted(page: Any) -> tuple[float, float]:
    """Draw a line on the board with the mouse, and return the scores before and after."""
    paper = page.locator("canvas.paper")
    paper.wait_for(timeout=120_000)
    page.wait_for_timeout(500)
    box = paper.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"], steps=8)
    page.mouse.up()
    said = page.locator("p.said")
    page.wait_for_function(f"() => /now/.test(({INSIDE})('p.said').textContent)", timeout=60_000)
    before, after = re.findall(r"-?[0-9.]+(?= untouched| now)", said.text_content())
    assert page.evaluate(f"({INSIDE})('img.heat').src").startswith("data:image/png")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function(f"() => / {before} now/.test(({INSIDE})('p.said').textContent)", timeout=60_000)
    return float(before), float(after)


def test_a_scratch_on_the_recorded_example(shared_server: Any, visit: Any) -> None:
    """Guards the brush for those who have nothing yet: a recorded detector that is not there, or cannot be opened."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/own_images")
    page.get_by_role("link", name="Paint a scratch on a part").click(timeout=60_000)
    before, after = painted(page)
    assert before < 3.21 < after
    seen.check()
