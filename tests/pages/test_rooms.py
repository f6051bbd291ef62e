"""The rooms of `pages/shared/`: which may need which."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / "pages" / "shared"


def arrows(name_of: Callable[[Path], str]) -> dict[str, set[str]]:
    """Return name -> names of what its files import below `pages/shared/`, itself left out."""
    needs: dict[str, set[str]] = {}
    for path in SHARED.rglob("*.py"):
        found = needs.setdefault(name_of(path), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pages.shared"):
                parent = ROOT.joinpath(*node.module.split("."))
                files = [parent / f"{alias.name}.py" for alias in node.names if (parent / f"{alias.name}.py").is_file()]
                found |= {name_of(file) for file in files or [parent.with_suffix(".py")]}
        found.discard(name_of(path))
    return needs


def room(path: Path) -> str:
    """Return the folder of a file below `pages/shared/`; a file beside the folders is a room of its own."""
    return path.relative_to(SHARED).parts[0]


def test_neither_files_nor_rooms_go_in_a_circle() -> None:
    """Two rooms that need each other: neither can be read, or moved, without the other."""
    for needs in (arrows(str), arrows(room)):
        assert sum(map(len, needs.values())) > 30, "the imports are not seen"
        graphlib.TopologicalSorter(needs).prepare()  # raises CycleError


def test_what_pages_share_needs_no_page() -> None:
    """A shared part that drags a page along."""
    needs, shared = arrows(room), {"frame", "forms", "runs", "player"}
    assert {other for name in shared for other in needs[name]} <= shared
    assert needs["frame"] == set()
