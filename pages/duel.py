"""Duel: up to four recipes from the same start."""

from __future__ import annotations

from pages.shared.router import start_page

start_page()

from pages.shared import duel_page  # noqa: E402  after the navigation: see `router`

duel_page.show()
