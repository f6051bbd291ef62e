"""Duel: up to four recipes from the same start."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.duel import page as duel_page  # noqa: E402  after the navigation: see `router`

duel_page.show()
