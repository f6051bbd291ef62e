"""Examine: the scores and images of one run."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.examine import page as examine_page  # noqa: E402  after the navigation: see `router`

examine_page.show()
