"""Film: one run under one scrubber, while it computes and afterwards."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.run import film  # noqa: E402  after the navigation: see `router`

film.show()
