"""Home: one recorded run as a film, and four questions to try."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared import home_page  # noqa: E402  after the navigation: see `router`

home_page.show()
