"""Paper tables: grids of runs beside the published figures."""

from __future__ import annotations

from pages.shared.router import start_page

start_page()

from pages.shared import paper_tables_page  # noqa: E402  after the navigation: see `router`

paper_tables_page.show()
