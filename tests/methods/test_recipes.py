"""The table of recipes: every row is complete, and the paper's numbers are in it."""

from __future__ import annotations

import math
import re

import pytest

from panda_core.errors import UsageError
from panda_core.methods.table import RECIPES, find_recipe

CLASS = 5000  # training images of one class of CIFAR-10, which lengths in epochs are of
# Minibatches. Those of PANDA are in its text; epochs are those of the released code of each method.
PAPER_STEPS = {
    "frozen": 0,
    "ocsvm": 0,
    "ensemble": 0,
    "panda-early": 2300,
    "joint": 2300,  # compared with early stopping at its length (Table 4)
    "panda-ses": 4700,
    "panda-ewc": 7800,
    "panda-l2": 7800,
    "panda-alarm": 7800,  # the rule is of this project: it stops within the longest of the paper's
    "panda-oe": 50 * math.ceil(CLASS / 32),
    "msc": 20 * math.ceil(CLASS / 64),
    "deep-svdd": 150 * math.ceil(CLASS / 200),
    "mhrot": 915,  # of this project: the one-class code for CIFAR-10 is not released
}

pytestmark = pytest.mark.parametrize("key", sorted(RECIPES))


def test_the_row_is_complete(key: str) -> None:
    """A recipe that the loop does not know how to run, or the form how to show."""
    row = find_recipe(key)
    assert re.fullmatch(r"[a-z0-9-]+", key)
    assert row.title and row.about.endswith(".") and row.source
    assert row.penalty in ("none", "ewc", "l2") and row.stop in ("last", "ses", "alarm")
    assert (row.steps == 0) == (row.paper_steps == 0)
    assert row.evaluations >= 1


def test_every_option_explains_itself_and_its_default_is_legal(key: str) -> None:
    """A default that its own check refuses."""
    for name, option in find_recipe(key).options.items():
        assert option.help and not option.help.endswith(".")
        assert option.parse(name, option.default) == option.default
        assert option.parse(name, str(option.default)) == option.default


def test_what_trains_follows_the_released_code(key: str) -> None:
    """Another clip, momentum or weight decay than the released code's, under the paper's name."""
    options = find_recipe(key).options
    found = {name: options[name].default for name in ("clip", "momentum", "weight_decay") if name in options}
    published = {
        "frozen": {},
        "ocsvm": {},
        "ensemble": {},
        "panda-oe": {"clip": 1e-3, "momentum": 0.9, "weight_decay": 0.0},
        "msc": {"momentum": 0.0, "weight_decay": 5e-5},
        "deep-svdd": {"weight_decay": 5e-7},
        "mhrot": {"momentum": 0.9, "weight_decay": 5e-4},
    }
    assert found == published.get(key, {"clip": 1e-3, "momentum": 0.9, "weight_decay": 5e-5})


def test_options_belong_to_their_recipe(key: str) -> None:
    """A setting that is accepted and then ignored."""
    row, options = find_recipe(key), set(find_recipe(key).options)
    assert ("ewc_strength" in options) == (row.penalty == "ewc")
    assert ("l2_strength" in options) == (row.penalty == "l2")
    assert ("ses" in options) == (row.stop == "ses")
    assert ("outliers" in options) == (row.auxiliary == "outliers")
    assert (key == "joint") == (row.auxiliary == "source")


def test_the_papers_lengths(key: str) -> None:
    """Another length than the paper's for networks like its own: 2.3k, 4.7k and 7.8k minibatches, or so many epochs."""
    assert find_recipe(key).paper_steps == PAPER_STEPS[key]


def test_the_papers_strength_is_that_of_ewc_alone(key: str) -> None:
    """Another strength than 10^4 under the paper's name; a strength where nothing is held."""
    strength = find_recipe(key).options.get("ewc_strength")
    assert (strength and strength.default) == (1e4 if key == "panda-ewc" else None)


def test_a_misspelt_name_is_told_the_closest_first(key: str) -> None:
    """A misspelt recipe replaced by the default one."""
    with pytest.raises(UsageError, match=rf"Unknown recipe `{key}x`; known: `{key}`.*--recipe {key}"):
        find_recipe(key + "x")
