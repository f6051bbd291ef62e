"""Runs: all of them, to compare, rename, download and delete."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared import runs_page  # noqa: E402  after the navigation: see `router`

runs_page.show()
