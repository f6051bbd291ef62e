"""Examine: the scores and images of one run."""

from __future__ import annotations

from pages.shared.router import start_page

start_page()

from pages.shared import examine_page  # noqa: E402  after the navigation: see `router`

examine_page.show()
