"""A toy for the first lesson: ten normal points and an odd one, and a pull that draws all of them together."""

from __future__ import annotations

from pathlib import Path

from pages.shared.frame.component import component

_TOY = component("panda_toy", Path(__file__).with_name("toy.html"))


def show_toy(key: str) -> None:
    """Draw the toy. It runs in the browser alone."""
    _TOY(key=key)
