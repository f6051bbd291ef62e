"""Glossary: the words of this program, each with what it means."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.lessons import glossary_page  # noqa: E402  after the navigation: see `router`

glossary_page.show()
