"""Lessons: four short ones, a prediction before each answer."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.lessons import page as lessons_page  # noqa: E402  after the navigation: see `router`

lessons_page.show()
