"""The lessons as people take them: with a mouse, from Home to the last answer."""

from __future__ import annotations

from typing import Any

import pytest

from pages.shared.lessons.content import all_lessons

pytestmark = pytest.mark.browser


def test_all_lessons_can_be_finished_with_a_mouse(shared_server: Any, visit: Any) -> None:
    """A *Next step* after which the next click on a guess leads back to step 1, or to the list of lessons."""
    seen = visit()
    page, lessons = seen.page, all_lessons()
    page.goto(shared_server.url)
    page.get_by_role("link", name="Four lessons about what you see").click(timeout=60_000)
    page.get_by_role("button", name="Begin", exact=True).first.click(timeout=60_000)
    for number, lesson in enumerate(lessons):
        page.get_by_role("heading", name=lesson.title, level=1).wait_for(timeout=60_000)
        for place, step in enumerate(lesson.steps, 1):
            heading = page.get_by_role("heading", name=step.title, level=2, exact=True)
            heading.wait_for(timeout=60_000)
            assert f"lesson={lesson.key}" in page.url and f"step={place}" in page.url
            assert step.question is not None
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
