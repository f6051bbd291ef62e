"""Settings: everything that was set for one run."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.run import settings  # noqa: E402  after the navigation: see `router`

settings.show()
