"""The router of the web app: what `app.py` runs for each visit."""

from __future__ import annotations

from pages.shared.frame.router import route

route()
