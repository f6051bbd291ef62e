"""Options explain themselves: whoever adds one writes its words once, in its row, and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from panda_core.backbones import BACKBONES
from panda_core.cli import main
from panda_core.config import Option
from panda_core.few_shot.table import GENERALISERS
from panda_core.methods.table import RECIPES
from panda_core.scoring.table import SCORERS
from panda_core.segmentation.table import SEGMENTERS

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
