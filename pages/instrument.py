"""Time machine: any run under one scrubber."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared import instrument_page  # noqa: E402  after the navigation: see `router`

instrument_page.show()
