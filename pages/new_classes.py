"""New classes: detection on a class that was never trained on, from a few normal references."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.new_classes import page as new_classes_page  # noqa: E402  after the navigation: see `router`

new_classes_page.show()
