"""The licence of a data set in one line, with a mark where it forbids commercial use."""

from __future__ import annotations

from pages.shared.frame import wording
from panda_core.datasets import Dataset

NONCOMMERCIAL = ":orange-badge[:material/money_off: non-commercial]"


def licence_line(dataset: Dataset) -> str:
    """Return Markdown: the licence, and the mark if it forbids commercial use."""
    line = f"Licence: {wording.sentence(dataset.licence)}"
    return f"{NONCOMMERCIAL} {line}" if dataset.noncommercial else line
