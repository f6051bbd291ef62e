"""The table of segmentation methods: every row is complete, and what it offers is legal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from panda_core import RunConfig
from panda_core.methods.table import RECIPES
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.kinds import resolve
from panda_core.segmentation.table import SEGMENTERS

pytestmark = pytest.mark.parametrize("key", sorted(SEGMENTERS))


def resolved(key: str, **options: Any) -> RunConfig:
    return resolve(RunConfig(dataset=GIVEN_IMAGES, recipe=key, set=options))


def test_the_row_is_complete(key: str) -> None:
    """A method that lists cannot explain, or whose name is a recipe's."""
    row = SEGMENTERS[key]
    assert re.fullmatch(r"[a-z0-9-]+", key) and key not in RECIPES
    assert row.title and row.about.endswith(".") and re.search(r"\d{4}", row.source)


def test_every_option_explains_itself_and_its_default_is_legal(key: str) -> None:
    """A default that its own check refuses."""
    for name, option in SEGMENTERS[key].options.items():
        assert option.help and not option.help.endswith(".")
        assert option.parse(name, option.default) == option.default
        assert option.parse(name, str(option.default)) == option.default
        assert not isinstance(option.default, (int, float)) or option.low <= option.default <= option.high
        assert not option.choices or option.default in option.choices


def test_the_defaults_go_together(key: str) -> None:
    """A row that cannot be run as it stands, or whose defaults are not written out."""
    config = resolved(key)
    assert {name: config.set[name] for name in SEGMENTERS[key].options} == {
        name: option.default for name, option in SEGMENTERS[key].options.items()
    }
    assert config.image_size == 224 and config.feature_norm and (config.steps, config.lr) == (None, None)


def test_every_option_changes_the_config(key: str) -> None:
    """An option that is accepted and then written out as its default."""
    legal: dict[str, object] = {"levels": "blocks.2", "neighbourhood": 5, "border": "zeros"}
    legal |= {"merge": "concat", "rotations": 4, "image_score": "part"}
    for name, option in SEGMENTERS[key].options.items():
        if name in ("adapted", "checkpoint", "reweight"):  # these need others beside them
            continue
        number = option.default if isinstance(option.default, str) else type(option.default)(option.default * 2 or 1)
        value = legal.get(name, min(number, option.high) if not isinstance(number, str) else number)
        value = value if value != option.default else option.low
        needed: dict[str, Any] = {other: wanted[0] for other, wanted in option.needs.items()}
        norm = needed.pop("feature_norm", None)
        config = RunConfig(dataset=GIVEN_IMAGES, recipe=key, feature_norm=norm, set={**needed, name: value})
        assert resolve(config).set[name] == value != option.default
