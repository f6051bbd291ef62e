"""Elastic weights: which layers are held, and how firmly."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared import elastic_page  # noqa: E402  after the navigation: see `router`

elastic_page.show()
