"""One thing about a data set that is not as it should be."""

from __future__ import annotations

import dataclasses

PROBLEM, WARNING, NOTE = "problem", "warning", "note"  # from worst to least
SHOWN = 20  # names kept for each finding


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    level: `problem`, `warning` or `note`. count: how many images, or groups of images, it concerns. examples: the
    first of these, groups of names, or a name and the reason where `has_reasons`; the half is named before the name of
    an image, `train:` or `test:`.
    """

    kind: str
    level: str
    told: str
    count: int
    examples: tuple[tuple[str, ...], ...] = ()
    has_reasons: bool = False


def counted(count: int, what: str, plural: str = "") -> str:
    """Return a number of things in words: 1 image, 2,000 images."""
    return f"1 {what}" if count == 1 else f"{count:,} {plural or what + 's'}"
