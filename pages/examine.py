"""Examine: the scores and images of one run."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.examine import page as examine_page  # noqa: E402  after the navigation: see `router`
from pages.shared.run.heading import show_heading_of_address  # noqa: E402

show_heading_of_address()
examine_page.show()
