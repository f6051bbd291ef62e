"""Inspect: from dropped photos to a detector with a threshold, and verdicts on new ones."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.own import page as own_page  # noqa: E402  after the navigation: see `router`

own_page.show()
