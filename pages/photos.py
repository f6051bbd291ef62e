"""Inspect: the way to check photos of one's own that fits what is at hand."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared import photos_page  # noqa: E402  after the navigation: see `router`

photos_page.show()
