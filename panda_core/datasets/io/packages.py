"""Data that is installed with a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def package_folders(name: str) -> list[Path]:
    """Return the folders of the installed package `name`; none where it is not installed. It is not imported."""
    package = importlib.util.find_spec(name)  # finds it without running it
    return [] if package is None else [Path(place) for place in package.submodule_search_locations or ()]
