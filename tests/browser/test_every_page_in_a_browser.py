"""Every page once in a browser: how it looks in both themes, and whether everybody can use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from tests.browser.conftest import share_of_screen

pytestmark = pytest.mark.browser

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
RUN = "run=break-digits-9"
PAGES = (
    "",
    "lessons",
    "lessons?lesson=one-class&step=4",  # the toy
    "glossary",
    "links",
    "lessons?lesson=collapse&step=1",
    "lessons?lesson=three-ways&step=all",
    "instrument?run=break-elpv-mono",  # the one with heatmaps
    "elastic",
    "duel",
    "adapt",
    f"settings?{RUN}",
    "examine?run=ses-digits-9",
    "segment",
    f"runs?{RUN}",
    "own_images",
    "new_classes",
    "paper_tables",
    "data",
)
PICTURED = ("home", "adapt", "examine", "segment", "runs")  # looked at on a phone as well, and kept as pictures
LOOKS = (("light", "light", 1440), ("dark", "dark", 1280), ("phone", "light", 360))


# What somebody comes to a page for: it takes at least half of the first screen. A lesson as text has no such.
OBJECTS = {
    **dict.fromkeys(("", "instrument", "elastic", "duel", "glossary"), ".machine"),
    **dict.fromkeys(("examine", "segment"), ".st-key-viewer"),
    **dict.fromkeys(("runs", "paper_tables", "settings"), "[data-testid=stDataFrame]"),
    "lessons": ".st-key-lessons",
    "lessons?lesson=one-class&step=4": ".toy",
    "lessons?lesson=collapse&step=1": ".st-key-slide",
    "lessons?lesson=three-ways&step=all": None,
    "links": ".st-key-preview",
    "adapt": ".st-key-ahead",
    "own_images": "[data-testid=stFileUploaderDropzone]",
    "data": ".st-key-pictures",
    "new_classes": ".st-key-example",
}


@pytest.mark.parametrize("address", PAGES, ids=lambda address: address.split("?")[0] or "home")
def test_a_page_looks_right_and_shuts_nobody_out(
    address: str, shared_server: Any, visit: Any, screenshots: Path, request: pytest.FixtureRequest
) -> None:
    """Guards every page: no error box, nothing wider than the window, both themes. And contrast, names of controls, and
    the order of headings: axe-core finds nothing serious or critical. And lines so long that the eye loses them, and
    boxes that push what somebody came for below the edge of the screen."""
    seen = visit(color_scheme="light", reduced_motion="reduce")
    page, name = seen.page, request.node.callspec.id
    page.goto(f"{shared_server.url}/{address}")
    seen.settle()
    if name in ("examine", "segment", "runs"):
        page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    grave, grounds = [], {}
    for look, scheme, width in LOOKS if name in PICTURED else LOOKS[:2]:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        seen.settle()
        if name in PICTURED:
            page.screenshot(path=str(screenshots / f"{name}-{look}.png"))
        assert page.locator("[data-testid=stException]").count() == 0
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide as {look}"
        grounds[look] = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        grave += [] if look == "phone" else violations(page, look)
        if look == "light":
            assert page.evaluate(LONG_LINES, MOST) == []
            found = OBJECTS.get(address, OBJECTS.get(address.split("?")[0]))
            assert found is None or share_of_screen(page, found) >= 0.5
    assert len(set(grounds.values())) == 2, "the theme does not follow the system"
    assert grave == []
    seen.check()


def test_after_a_guess_the_film_fills_the_screen(shared_server: Any, visit: Any) -> None:
    """An answer whose picture lies below the edge of the screen."""
    seen = visit(reduced_motion="reduce")
    page = seen.page
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{shared_server.url}/lessons?lesson=collapse&step=1")
    page.get_by_role("button", name="Show the answer").click(timeout=60_000)
    page.locator(".machine").wait_for(timeout=60_000)
    seen.settle()
    assert share_of_screen(page, ".machine") >= 0.5
    seen.check()


def violations(page: Any, look: str) -> list[str]:
    """Return what is serious or critical on a page, each with up to three of its places."""
    # The dark theme is the same page in other colours: names and headings have been looked at.
    rules = ["color-contrast", "link-in-text-block"] if look == "dark" else None
    found = page.evaluate(
        """async (rules) => (await axe.run(document, {
            resultTypes: ['violations'], ...(rules ? { runOnly: { type: 'rule', values: rules } } : {}),
        })).violations""",
        rules,
    )
    return [
        f"{look}, {violation['id']}: {[node['target'] for node in violation['nodes']][:3]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


MOST = 70  # characters
# Paragraphs and captions with a line of more characters, also in components.
LONG_LINES = """(most) => {
    const found = [];
    const look = (root) => {
        for (const text of root.querySelectorAll('p, li, figcaption > *')) {
            if (!text.getClientRects().length || text.querySelector('p, li') || text.closest('.scores')) continue;
            const lines = {}, range = document.createRange();
            const nodes = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
            for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
                if (node.parentElement.closest('style, [data-testid=stIconMaterial], .katex')) continue;
                for (let at = 0; at < node.data.length; at++) {
                    range.setStart(node, at);
                    range.setEnd(node, at + 1);
                    const box = range.getBoundingClientRect();
                    const line = Math.round(box.bottom / 6);
                    if (box.width) lines[line] = (lines[line] ?? 0) + 1;
                }
            }
            const longest = Math.max(0, ...Object.values(lines));
            if (longest > most) found.push(`${longest}: ${text.textContent.trim().slice(0, 60)}`);
        }
        for (const node of root.querySelectorAll('*')) if (node.shadowRoot) look(node.shadowRoot);
    };
    look(document.querySelector('[data-testid=stMain]'));
    return found;
}"""

# Every text smaller than 22 pixels, by its size, also in components.
SMALL = """() => {
    const found = [];
    const look = (root) => root.querySelectorAll('*').forEach((node) => {
        if (node.shadowRoot) look(node.shadowRoot);
        const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
        const size = parseFloat(getComputedStyle(node).fontSize);
        if (own && size < 22 && node.getClientRects().length && !node.closest('style, [data-testid=stIconMaterial]'))
            found.push(`${size}: ${node.textContent.trim().slice(0, 40)}`);
    });
    look(document.querySelector('.stApp'));
    return found;
}"""


@pytest.mark.parametrize("address", ["?", "examine?run=ses-digits-9&", "elastic?"], ids=["film", "chart", "names"])
def test_large_type_can_be_read_from_the_back_of_a_room(address: str, shared_server: Any, visit: Any) -> None:
    """Guards a projector: type that grows while charts, and what a component draws, stay as small as they were."""
    seen = visit(reduced_motion="reduce")
    seen.page.set_viewport_size({"width": 1920, "height": 1080})
    seen.page.goto(f"{shared_server.url}/{address}large=yes")
    seen.settle()
    if address != "?":
        seen.page.locator(".js-plotly-plot text").first.wait_for(timeout=60_000)
    assert seen.page.evaluate(SMALL) == [] == seen.page.evaluate(LONG_LINES, MOST)
    seen.check()


def test_a_projector_shows_the_page_alone(shared_server: Any, visit: Any) -> None:
    """A link "without the frame" under which the navigation stood."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/lessons?lesson=collapse&step=1&embed=true")
    page.get_by_role("heading", name="Why it collapses", level=1).wait_for(timeout=60_000)
    seen.settle()
    assert page.get_by_test_id("stTopNavLink").count() == 0 and page.get_by_text("Glossary").count() == 0
    page.get_by_role("button", name="Next step").click()
    page.get_by_text("Why the loss did not show it").wait_for(timeout=30_000)
    assert "embed=true" in page.url
    seen.check()


def test_the_menu_of_a_phone_leaves_the_page_it_led_to(shared_server: Any, visit: Any) -> None:
    """A menu that lies over the page that was chosen in it."""
    seen = visit(reduced_motion="reduce")
    page = seen.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(shared_server.url)
    seen.settle()
    for door, heading in (("Lab", "Adapt a network to normal images"), ("Runs", "Runs"), ("Learn", "Lessons")):
        page.get_by_test_id("stExpandSidebarButton").click(timeout=60_000)
        page.get_by_test_id("stSidebarNavLink").filter(has_text=door).click()
        page.get_by_role("heading", name=heading, level=1).wait_for(timeout=60_000)
        page.wait_for_function(
            "() => (document.querySelector('[data-testid=stSidebar]')?.getBoundingClientRect().right ?? 0) <= 1"
        )
    seen.check()
