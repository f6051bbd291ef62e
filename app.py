"""The router of the web app: `streamlit run app.py`."""

from __future__ import annotations

from pages.shared.frame.router import route

route()
