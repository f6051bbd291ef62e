"""The Own images page as people meet it: real photos dropped, learned from, scored, and everything taken away."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core.datasets import find_dataset

pytestmark = pytest.mark.browser

FIELD, SCORE = ".st-key-own_images input[type=file]", "[class*=st-key-own_others] input[type=file]"
ENABLED = "(name) => document.querySelector(`.st-key-${name} button`)?.disabled === false"


def cells(count: int, *, functional: bool) -> list[str]:
    """Return the places of photos of solar cells that came with the installation."""
    splits = find_dataset("elpv").open(Path("nowhere"), "mono", 0)
    rows = np.flatnonzero((splits.test_labels == splits.normal_label) == functional)[:count]
    return [str(splits.test.paths[row]) for row in rows]  # type: ignore[attr-defined]


def test_from_dropped_photos_to_files_to_take_away(shared_server: Any, visit: Any, tmp_path: Path) -> None:
    """Guards the whole way in a browser: no test without one noticed that a file was refused by the server."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/own_images")
    note = tmp_path / "note.txt"
    note.write_text("no image")
    page.locator(FIELD).set_input_files([*cells(9, functional=True), str(note)], timeout=60_000)
    page.wait_for_function(ENABLED, arg="own-read")
    page.get_by_role("button", name="Look at them").click()
    page.get_by_text("1 file: could not be read").wait_for(timeout=60_000)
    page.get_by_test_id("stMain").get_by_role("button", name="Learn", exact=True).click()  # a menu is called alike
    page.get_by_role("heading", name="When to reject").wait_for(timeout=120_000)

    defective = cells(2, functional=False)
    page.locator(SCORE).set_input_files(defective)
    page.wait_for_function(ENABLED, arg="own-score")
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_role("heading", name="What was found").wait_for(timeout=120_000)

    def downloaded(label: str) -> Path:
        with page.expect_download(timeout=120_000) as given:
            page.get_by_role("button", name=label, exact=True).click()
        return Path(given.value.path())

    names = {Path(path).name for path in defective}
    assert {row["name"] for row in csv.DictReader(downloaded("Verdicts as CSV").open())} == names
    assert {row["name"] for row in json.loads(downloaded("Verdicts as JSON").read_text())} == names
    page.get_by_role("button", name="Write detector").click()
    page.get_by_role("button", name="Download detector").wait_for(timeout=120_000)
    for label, member in (("Download all maps", "overlays/0001.png"), ("Download detector", "manifest.json")):
        with zipfile.ZipFile(downloaded(label)) as archive:
            assert member in archive.namelist() and archive.testzip() is None
    seen.check()
