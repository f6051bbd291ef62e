"""What the files of the pages may need, and what they must not spell again: rooms, and texts of options."""

from __future__ import annotations

import ast
import dataclasses
import gc
import graphlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from panda_core.backbones import BACKBONES
from panda_core.cli import main
from panda_core.config import Option
from panda_core.few_shot.table import GENERALISERS
from panda_core.methods.table import RECIPES
from panda_core.scoring.table import SCORERS
from panda_core.segmentation.table import SEGMENTERS

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


NEW = Option(default=3, low=1, high=9, help="words of the command", plain="Words of the tooltip.")
TABLES: tuple[Mapping[str, Any], ...] = (RECIPES, SCORERS, SEGMENTERS, GENERALISERS, BACKBONES)


def test_every_option_has_both_texts() -> None:
    """An option whose tooltip is empty, or the terse words of the command."""
    rows = [(f"{row}.{key}", option) for table in TABLES for row in table for key, option in table[row].options.items()]
    assert len(rows) > 100
    assert [name for name, option in rows if len(option.help) < 10] == []
    assert [name for name, option in rows if len(option.plain) < 20 or not option.plain.endswith(".")] == []


@pytest.mark.parametrize(
    ("table", "row", "page", "query", "key"),
    [
        (RECIPES, "panda-early", "adapt", {}, "set_novelty"),
        (SCORERS, "knn", "adapt", {}, "set_novelty"),
        (SEGMENTERS, "patchcore", "segment", {"segment": "start a run"}, "seg_set_novelty"),
        (GENERALISERS, "resad", "new_classes", {"new_classes": "train one"}, "new_set_novelty"),
    ],
    ids=["recipe", "scorer", "segmenter", "few-shot"],
)
def test_a_new_option_appears_in_its_form_and_in_the_command(
    table: dict[str, Any],
    row: str,
    page: str,
    query: dict[str, str],
    key: str,
    open_page: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An option in a row that ends a form in a KeyError, because a glossary elsewhere lacks its term."""
    monkeypatch.setitem(table, row, dataclasses.replace(table[row], options={**table[row].options, "novelty": NEW}))
    field = open_page(page, **query).number_input(key=key)
    assert (field.label, field.value, field.help) == ("Novelty", 3, "Words of the tooltip.")
    assert main(["scorers" if table is SCORERS else "recipes"]) == 0
    assert "novelty=3  words of the command" in capsys.readouterr().out


def test_the_collector_passes_over_modules(open_page: Any) -> None:
    """A collection that goes through all objects of all modules after every move of a widget: with twenty people on two
    cores nine tenths of what the server did."""
    open_page("home")
    assert gc.get_freeze_count() > 3 * len(gc.get_objects())


def test_pages_load_no_torch() -> None:
    """180 MB and seconds of a server that computes nothing itself."""
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in SHARED.rglob("*.py")]
    code = f"import sys\nfor name in {names!r}:\n    __import__(name)\nprint('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]
