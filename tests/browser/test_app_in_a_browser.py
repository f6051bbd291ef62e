"""The app as people meet it: a real server, a real browser, a real run, and all lessons with a mouse."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from pages.shared.lessons.content import all_lessons
from tests.browser.conftest import MEASURED

pytestmark = pytest.mark.browser

SMALL = "normal_class=9&image_size=32&train_limit=24&test_limit=40&batch_size=8&feature_norm=l2&lr=1"


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/adapt?lr=3&recipe=panda-ewc", "Adapt a network to normal images"),
        ("/examine?run=ses-digits-9", "Sample-wise stopping"),
        ("/segment?map_way=contour", "Where is the defect?"),
        ("/runs", "Runs"),
    ],
)
def test_a_deep_link_is_the_first_visit(path: str, heading: str, server: Any, visit: Any) -> None:
    """Guards against the old multipage mode, which a folder named `pages` wakes until navigation has run once."""
    seen = visit()
    seen.page.goto(server.url + path)
    seen.page.get_by_role("heading", name=heading, level=1).wait_for(timeout=60_000)
    doors = seen.page.get_by_test_id("stTopNavLink").locator("p")
    assert doors.all_inner_texts() == ["Watch", "Learn", "Inspect", "Lab", "Runs"]
    assert path.split("?")[0] in seen.page.url
    seen.check()


def test_home_moves_by_itself_and_obeys(shared_server: Any, visit: Any) -> None:
    """Guards the first seconds: something moves without a click, and play, pause and scrub work."""
    from playwright.sync_api import expect

    seen = visit()
    page = seen.page
    page.goto(shared_server.url)
    player = page.locator(".machine")
    player.wait_for(timeout=60_000)
    step = player.locator(".step")
    first = step.inner_text()
    expect(step).not_to_have_text(first, timeout=20_000)
    player.get_by_role("button", name="Pause").click()
    held = step.inner_text()
    page.wait_for_timeout(700)
    assert step.inner_text() == held
    scrub = player.get_by_label("Position in the run")
    scrub.fill("0")
    assert step.inner_text() == "step 0"
    assert player.locator(".phase").inner_text() == "unadapted"
    scrub.fill(scrub.get_attribute("max"))
    assert player.locator(".phase").inner_text() != "unadapted"
    assert float(player.locator(".now").inner_text()) != float(player.locator(".first").inner_text())
    player.get_by_role("button", name="Restart").click()
    player.get_by_role("button", name="Pause").wait_for(timeout=20_000)
    seen.check()


def test_a_run_grows_on_the_page_and_survives_a_reload(shared_server: Any, visit: Any) -> None:
    """Guards the heart of the app: start, watch the film grow to its end, reload, and see the same run."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/adapt?{SMALL}&steps=6&eval_every=2")
    page.get_by_role("button", name="Start").click(timeout=60_000)
    page.wait_for_function(f"() => ({MEASURED})() >= 1", timeout=60_000)
    assert re.search(r"run=\d{8}-\d{6}-\d{6}-digits-9", page.url)
    page.wait_for_function(f"() => ({MEASURED})() === 4", timeout=60_000)
    page.get_by_text("Final AUROC").wait_for(timeout=60_000)
    page.locator(".machine .step").get_by_text("step 6").wait_for(timeout=20_000)  # it followed the run to its end
    page.reload()
    page.get_by_text("Final AUROC").wait_for(timeout=60_000)
    page.wait_for_function(f"() => ({MEASURED})() === 4", timeout=60_000)
    seen.check()


def test_stop_is_obeyed_and_the_run_can_go_on(shared_server: Any, visit: Any) -> None:
    """Guards stop and resume, in a second tab and after a restart of the server."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/adapt?{SMALL}&steps=4000&eval_every=20")
    page.get_by_role("button", name="Start").click(timeout=60_000)
    page.wait_for_function(f"() => ({MEASURED})() >= 1", timeout=60_000)
    address = page.url
    with shared_server.held_runs():
        shared_server.stop()
        shared_server.start()
        other = visit()
        other.page.goto(address)
        other.page.wait_for_function(f"() => ({MEASURED})() >= 1", timeout=60_000)
        other.page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=60_000)
    other.page.get_by_role("button", name="Stop", exact=True).click()
    other.page.get_by_role("button", name="Resume").click(timeout=60_000)
    other.page.get_by_role("button", name="Stop", exact=True).wait_for(timeout=60_000)
    other.check()
    shared_server.stop_runs()


def test_a_card_of_the_lab_sets_up_a_run(shared_server: Any, visit: Any) -> None:
    """Guards the way from the first page to a run: a door, a card that fills the form, and its address."""
    seen = visit()
    page = seen.page
    page.goto(shared_server.url)
    page.get_by_role("link", name="Run experiments").click(timeout=60_000)
    page.get_by_role("heading", name="Adapt a network to normal images").wait_for(timeout=60_000)
    page.get_by_role("button", name="Go too far").click()
    rate = "() => document.querySelector('.st-key-lr input')?.value === '60'"
    page.wait_for_function(rate, timeout=60_000)
    page.wait_for_url("**lr=60**")
    assert "normal_class=9" in page.url
    page.get_by_role("button", name="Adapt gently").click()
    page.wait_for_function(rate.replace("60", "2"), timeout=60_000)
    seen.check()


def test_all_lessons_can_be_finished_with_a_mouse(shared_server: Any, visit: Any) -> None:
    """A *Next step* after which the next click on a guess leads back to step 1, or to the list of lessons."""
    seen = visit()
    page, lessons = seen.page, all_lessons()
    page.goto(shared_server.url)
    page.get_by_role("link", name="Teach it").click(timeout=60_000)
    page.get_by_role("button", name="Begin", exact=True).first.click(timeout=60_000)
    for number, lesson in enumerate(lessons):
        page.get_by_role("heading", name=lesson.title, level=1).wait_for(timeout=60_000)
        for place, step in enumerate(lesson.steps, 1):
            heading = page.get_by_role("heading", name=step.title, level=2, exact=True)
            heading.wait_for(timeout=60_000)
            assert f"lesson={lesson.key}" in page.url and f"step={place}" in page.url
            page.wait_for_function("() => document.querySelector('[data-testid=stMain]').scrollTop === 0")  # at its top
            assert step.question is not None
            if step.toy:
                collapse_the_toy(page)
            if step.question.choices:
                page.get_by_role("radiogroup").get_by_text(step.question.correct, exact=True).click()
            else:
                page.get_by_role("slider", name="Your guess").press("ArrowRight")
            show = page.get_by_role("button", name="Show the answer")
            page.wait_for_function(
                "(name) => !document.querySelector(`.st-key-${name} button`)?.disabled",
                arg=f"reveal-{lesson.key}-{place - 1}",
            )
            show.click()
            show.wait_for(state="detached", timeout=60_000)
            assert heading.is_visible(), "the answer led elsewhere"
            if place < len(lesson.steps):
                page.get_by_role("button", name="Next step").click()
            elif number + 1 < len(lessons):
                page.get_by_role("button", name="Next lesson").click()
    questions = sum(len(lesson.steps) for lesson in lessons)
    page.get_by_role("heading", name="Your predictions").wait_for(timeout=60_000)
    with page.expect_download() as given:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    with open(given.value.path(), encoding="utf-8") as file:
        assert sum(1 for _ in file) == 1 + questions
    seen.check()


def collapse_the_toy(page: Any) -> None:
    """Pull until nobody can find the odd point: first it must stand out more than at the start. Then drag it away."""
    toy = page.locator(".toy[data-ratio]")  # it is there before it has drawn
    toy.wait_for(timeout=60_000)
    ratios = [float(toy.get_attribute("data-ratio"))]
    for _ in range(14):
        toy.get_by_role("button", name="Pull").click()
        ratios.append(float(toy.get_attribute("data-ratio")))
    assert ratios[2] > 1.5 * ratios[0] and ratios[-1] < 1.1
    assert "That is collapse" in toy.locator(".told").inner_text()
    odd = toy.get_by_role("button", name="the odd one").bounding_box()
    page.mouse.move(odd["x"] + 4, odd["y"] + 4)
    page.mouse.down()
    page.mouse.move(odd["x"] + 4, odd["y"] - 100, steps=3)
    page.mouse.up()
    assert float(toy.get_attribute("data-ratio")) > 5


def test_a_click_on_a_row_chooses_the_run(shared_server: Any, visit: Any) -> None:
    """A list of runs of which none opens by a click."""
    seen = visit()
    page = seen.page
    page.goto(f"{shared_server.url}/runs")
    seen.settle()
    links = "[...document.querySelectorAll('[data-testid=stMain] a')].map(link => link.href).join()"
    before = page.evaluate(links)  # to the pages of the run that is chosen: which ones, depends on its kind
    other = f"(before) => {links} !== before"
    for column in (120, 160, 120, 160, 120):  # a table is drawn before it listens, and moves while the page is laid out
        page.get_by_test_id("stDataFrame").first.scroll_into_view_if_needed()
        table = page.get_by_test_id("stDataFrame").first.bounding_box()
        page.mouse.click(table["x"] + column, table["y"] + 5.5 * 35)  # the fifth row
        with contextlib.suppress(PlaywrightTimeout):
            page.wait_for_function(other, arg=before, timeout=8_000)
            break
    else:
        pytest.fail("No click chose the run.")
    seen.check()
