"""Teacher links: an address for a class, with what is hidden, locked and enlarged."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.lessons import links_page  # noqa: E402  after the navigation: see `router`

links_page.show()
