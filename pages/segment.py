"""Segment: where the defect is, as a map over each image."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.segment import page as segment_page  # noqa: E402  after the navigation: see `router`

segment_page.show()
