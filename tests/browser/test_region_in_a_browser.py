"""The part of one's photos that counts, marked as people mark it: with a mouse, and with keys alone."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from panda_core.datasets.io.regions import read_region
from tests.browser.test_own_images_in_a_browser import FIELD, cells

pytestmark = pytest.mark.browser


def test_a_part_of_the_photos_is_marked(shared_server: Any, visit: Any) -> None:
    """Guards the board: a box that is kept elsewhere than it was drawn, one that no key can draw, a mark for ever."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/own_images")
    page.locator(FIELD).set_input_files(cells(8, functional=True), timeout=60_000)
    page.get_by_text("Only part of the picture matters").click(timeout=60_000)
    paper = page.locator("canvas.paper")
    paper.wait_for(timeout=60_000)
    page.get_by_text("all of the picture counts").wait_for()
    seen.settle()
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    side = min(box["width"], box["height"])  # cells are square, and lie at the left of their place
    page.mouse.move(box["x"] + 0.2 * side, box["y"] + 0.1 * side)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * side, box["y"] + 0.6 * side, steps=6)
    page.mouse.up()
    page.get_by_text("25 % of the picture counts").wait_for(timeout=20_000)
    (file,) = (shared_server.folder / "runs" / "uploads").glob("*/roi.png")
    marked = read_region(str(file)).marked
    height, width = marked.shape
    assert marked[int(0.12 * height) : int(0.58 * height), int(0.22 * width) : int(0.68 * width)].all()
    assert not marked[:, int(0.72 * width) :].any() and not marked[int(0.62 * height) :].any()

    page.get_by_text("Without a mouse: a box in numbers").focus()
    page.keyboard.press("Enter")
    for name, value in (("left", "70"), ("top", "10"), ("right", "90"), ("bottom", "60")):
        page.locator(f"input[name={name}]").fill(value)
    page.locator("input[name=bottom]").press("Enter")
    page.get_by_text("35 % of the picture counts").wait_for(timeout=20_000)
    page.get_by_role("button", name="Swap").click()
    page.get_by_text("65 % of the picture counts").wait_for(timeout=20_000)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("75 % of the picture counts").wait_for(timeout=20_000)
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("all of the picture counts").wait_for(timeout=20_000)
    assert not file.exists()
    seen.check()
    shutil.rmtree(file.parent)  # what others look for on this disk, once all is deleted, is not this
