"""Adapt: describe a run, start it, and watch its curves grow."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.adapt import page as adapt_page  # noqa: E402  after the navigation: see `router`

adapt_page.show()
