"""Data: what each data set holds, under which licence, and whether it is fit to measure on."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.data import page as data_page  # noqa: E402  after the navigation: see `router`

data_page.show()
