"""Paper tables: grids of runs beside the published figures."""

from __future__ import annotations

from pages.shared.frame.router import start_page

start_page()

from pages.shared.paper_tables import page as paper_tables_page  # noqa: E402  after the navigation: see `router`

paper_tables_page.show()
