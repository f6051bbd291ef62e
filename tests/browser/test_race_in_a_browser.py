"""A race as a student sees it: rivals chosen in the Lab, watched to the end, and what is said of why one lost."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.browser.test_app_in_a_browser import SMALL

pytestmark = pytest.mark.browser

ROWS = ".machine .scores li"


def test_a_race_of_ones_own_says_why_each_came_out_as_it_did(shared_server: Any, visit: Any) -> None:
    """Rivals that are not found again, a race that stands still, a state of one step beside a score of several."""
    seen = visit(reduced_motion="reduce")
    page = seen.page
    page.goto(f"{shared_server.url}/adapt?{SMALL}&steps=6&eval_every=2")
    rivals = page.locator(".st-key-rivals")
    for name in ("PANDA, sample-wise early stopping", "PANDA, elastic weights (EWC)"):
        seen.settle()
        rivals.locator("input").click()
        rivals.locator("input").press("ArrowDown")  # opens the list again where the click has scrolled the page
        page.get_by_role("option", name=name, exact=True).click()
        rivals.get_by_text(name).wait_for(timeout=20_000)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Start the race").click()
    page.get_by_role("heading", name="Race", level=1).wait_for(timeout=60_000)
    rows = page.locator(ROWS)
    page.wait_for_function(
        "(rows) => { const inside = (root) => root.querySelector(rows) ? [...root.querySelectorAll(rows)] :"
        " [...root.querySelectorAll('*')].map((one) => one.shadowRoot && inside(one.shadowRoot)).find(Boolean);"
        " return (inside(document) ?? []).filter((row) => /final 0/.test(row.textContent)).length === 3; }",
        arg=ROWS,
        timeout=180_000,
    )
    told = rows.all_inner_texts()
    assert sum("the highest" in text for text in told) >= 1
    for text in told:
        assert re.search(r"step 6: AUROC \d\.\d{3} → \d\.\d{3}, [a-z ]+\n", text), text
        assert "by adapting; " in text and text.strip().endswith("."), text
    assert page.url.count("digits-9") == 3
    seen.check()


def test_the_recorded_race_fits_a_phone(shared_server: Any, visit: Any) -> None:
    """Reasons that are cut, or lie over one another, at 390 pixels, in both themes."""
    for scheme in ("light", "dark"):
        seen = visit(color_scheme=scheme, reduced_motion="reduce")
        page = seen.page
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{shared_server.url}/duel")
        page.locator(ROWS).nth(2).wait_for(timeout=60_000)
        seen.settle()
        assert "the highest" in page.locator(ROWS).nth(2).inner_text()
        boxes = page.locator(f"{ROWS} .why").evaluate_all(
            "all => all.map((one) => one.getBoundingClientRect()).map(({ left, right, top, bottom }) => "
            "[left, right, top, bottom])"
        )
        assert len(boxes) == 3 and all(left >= 0 and right <= 390 for left, right, _, _ in boxes)
        assert all(one[3] <= two[2] for one, two in itertools.pairwise(boxes))
        seen.check()
