"""How results are printed: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from panda_core.records import plain


def print_json(value: Any) -> None:
    """Print one JSON value on one line and flush it, so that a reader sees it at once."""
    # Where the stream is not UTF-8, JSON's own escapes carry every name.
    escape = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=escape, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells are plain text."""
    from rich.text import Text

    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_text(text: str) -> None:
    """Print a line of plain text."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def percent(value: float | None) -> str:
    """Return a share as "91.2 %", or "-" where it is undefined."""
    return "-" if value is None else f"{100 * value:.1f} %"
