"""Files to take away: verdicts as CSV and JSON, and maps as a zip."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import streamlit as st

from pages.shared.frame.glossary import tip
from pages.shared.segment.archive import download_maps
from pages.shared.segment.maps import MapView
from panda_core.records import plain, plain_cell

COLUMNS = ("name", "verdict", "score", "highest_map_value", "percentile")


def show_downloads(check: str, rows: list[dict[str, Any]], view: MapView | None) -> None:
    """Draw the buttons."""
    with st.container(horizontal=True):
        for label, ending, mime, content in (
            ("Verdicts as CSV", "csv", "text/csv", as_csv(rows)),
            ("Verdicts as JSON", "json", "application/json", as_json(rows)),
        ):
            st.download_button(
                label,
                data=content,
                file_name=f"verdicts-{check}.{ending}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"own-{ending}",
                help=tip("own_table"),
            )
        if view is not None:
            download_maps(view, check)


def records(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is said of each image, in columns that stay the same for every kind of run."""
    return [
        dict(
            zip(
                COLUMNS,
                (row["name"], row["verdict"], row["score"], row.get("peak"), row["percentile"]),
                strict=True,
            )
        )
        for row in rows
    ]


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Return the verdicts as CSV. Names are text: one that looks like a formula gets an apostrophe."""
    held = io.StringIO()
    table = csv.DictWriter(held, COLUMNS, lineterminator="\n")
    table.writeheader()
    for record in records(rows):
        table.writerow({**record, "name": plain_cell(record["name"]), "verdict": plain_cell(record["verdict"])})
    return held.getvalue()


def as_json(rows: list[dict[str, Any]]) -> str:
    """Return the verdicts as JSON, names as they are."""
    return json.dumps(plain(records(rows)), indent=2, ensure_ascii=False) + "\n"
