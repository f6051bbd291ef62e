"""The Segment page as people meet it: a click on a picture, a real run, photos of one's own."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

PICTURE = "[class*=st-key-map-picture] .js-plotly-plot .drag"
PATCHES = 28  # on a side of the recorded run's map
# In how many rows each patch lies with its neighbours.
ROWS = """() => [...document.querySelectorAll('.st-key-patches [data-testid=stHorizontalBlock]')].map(
    (row) => new Set([...row.querySelectorAll('img')].map((shown) => Math.round(shown.getBoundingClientRect().y))).size
)"""
SMALL = "seg_dataset=digits&seg_class=3&seg_image_size=64&seg_train_limit=12&seg_test_limit=8"


def test_a_click_chooses_the_patch_under_it(shared_server: Any, visit: Any) -> None:
    """Guards clicks on the picture: a chart that does not select, or loses what was selected when it is drawn anew."""
    from playwright.sync_api import expect

    seen = visit()
    page = seen.page
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{shared_server.url}/segment?run=segment-elpv-mono")
    picture = page.locator(PICTURE).first
    picture.wait_for(timeout=60_000)
    page.wait_for_timeout(1000)  # the chart is laid out anew when its place is known
    box = picture.bounding_box()
    for row, column in ((4, 9), (12, 2)):
        x, y = (column - 0.5) / PATCHES * box["width"], (row - 0.5) / PATCHES * box["height"]
        page.mouse.click(box["x"] + x, box["y"] + y)
        for name, value in (("row", row), ("column", column)):
            field = page.locator(f"[class*=st-key-map-{name}-] input[type=number]").first
            expect(field).to_have_value(str(value), timeout=20_000)
    seen.settle()
    ends = page.get_by_role("heading", name="How good is it?").evaluate(
        "heading => heading.getBoundingClientRect().top + document.querySelector('[data-testid=stMain]').scrollTop"
    )
    assert ends - 16 <= 1.5 * 900, "the viewer takes more than one and a half screens"  # 16: the space between
    page.set_viewport_size({"width": 390, "height": 844})
    seen.settle()
    assert page.evaluate(ROWS) == [1] * 4, "a patch and its three neighbours are not in one row"
    seen.check()


def test_a_run_ends_in_maps(shared_server: Any, visit: Any) -> None:
    """Guards the way from the form to the map: start, wait, see it, reload and see it again."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/segment?segment=start+a+run&{SMALL}")
    page.get_by_role("button", name="Start", exact=True).click(timeout=60_000)
    page.locator(PICTURE).first.wait_for(timeout=120_000)
    assert "-digits-3-patchcore-" in page.url
    page.reload()
    page.locator(PICTURE).first.wait_for(timeout=60_000)
    page.get_by_text("How good is it?").wait_for(timeout=60_000)

    page.get_by_role("link", name="Score other images").click()
    page.get_by_test_id("stMain").get_by_text("New photos", exact=True).click(timeout=60_000)
    drop = page.locator("[class*=st-key-own_others] input[type=file]")
    drop.set_input_files([{"name": "*stripes*.png", "mimeType": "image/png", "buffer": stripes()}])
    page.get_by_role("heading", name="What was found").wait_for(timeout=120_000)
    page.get_by_text("*stripes*.png", exact=True).last.wait_for(timeout=60_000)
    seen.check()


def stripes() -> bytes:
    """Return a PNG that is no digit."""
    held = io.BytesIO()
    Image.fromarray(np.tile(np.uint8([0, 255]), (32, 16))).save(held, "PNG")
    return held.getvalue()
