"""Every error this package raises on purpose: one sentence a person can act on, and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PandaError(Exception):
    """Something went wrong while computing. The command line exits with 1."""


class UsageError(PandaError):
    """A value, a name or a path from the user cannot be used. The command line exits with 2."""


class DataMissing(UsageError):
    """A dataset or weight file is not on this machine; the message says what to get and where to put it."""


class UnreadableImage(PandaError):
    """One image could not be decoded. Callers skip it, count it and name it."""


class RefusedArchive(UsageError):
    """An archive is damaged, or holds what no archive of images has to hold. Nothing after that place was read."""


class BrokenRun(PandaError):
    """A run folder lacks a file or holds one that cannot be read."""


def unknown_name(kind: str, got: str, known: Iterable[str], flag: str) -> UsageError:
    """Return the error for an unknown `kind` called `got`: the known names, closest first, and the corrected call."""
    names = list(known)
    close = difflib.get_close_matches(got, names, n=3, cutoff=0.4)
    ordered = close + [name for name in names if name not in close]
    shown = ", ".join(f"`{name}`" for name in ordered) or "none"
    joint = "" if flag.endswith("=") else " "
    advice = f" Did you mean `{flag}{joint}{close[0]}`?" if close else f" Set `{flag}` to one of them."
    return UsageError(f"Unknown {kind} `{got}`; known: {shown}.{advice}")
