"""No option is accepted and ignored: each changes what a run records, or is refused where it would not."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig, UsageError
from panda_core.backbones import BACKBONES
from panda_core.cli.arguments import parser
from panda_core.cli.flags import config_of
from panda_core.config import Option
from panda_core.few_shot.table import GENERALISERS
from panda_core.methods.options import OWN
from panda_core.methods.table import RECIPES
from panda_core.runs.kinds import KINDS, options_of, resolve
from panda_core.runs.settings import noting_missing
from panda_core.scoring.table import SCORERS
from panda_core.segmentation.table import SEGMENTERS

Recorded = dict[str, Any]

# Values that make a difference with twenty images and fourteen features, where twice the default would make none.
OTHER: dict[str, Any] = {
    "whiten_dims": 3,
    "clip": 1e-6,
    "means": 3,
    "reweight": 3,
    "warm_up": 0.7,
    "gallery_images": 3,
    "fisher_images": 3,
    "bank_rows": 7,
    "candidates": 9,
    "coreset": 0.5,
    "nearest_images": 2,
    "neighbourhood": 5,
    "rotations": 2,
    "levels": "first",
    "top": 0.5,
    "merge": "concat",
    "svm_gamma": 0.5,
    "svm_variance": 0.5,
    "momentum": 0.5,
    "seen": "6@digits",
    "references": 2,
    "position_width": 16,
    "chunk": 64,
    "draws": 2,
}
# What must be set as well.
WITH: dict[str, dict[str, Any]] = {"reweight": {"top": 0.0, "image_score": "part"}}
# What nothing that is recorded depends on, and why it is there.
NO_RESULT = {
    "memory_gb": "refuses to start",
    "exact_rows": "the same neighbours, found faster; approximate only among more patches than a test has",
    "adapted": "names another run: tests of segmentation runs",
    "checkpoint": "belongs to `adapted`",
}


def other_value(key: str, option: Option) -> Any:
    """Return a legal value that is not the default."""
    if key in OTHER:
        return OTHER[key]
    if option.choices:
        return next(choice for choice in reversed(option.choices) if choice != option.default)
    for value in (option.default * 3, option.default / 3, option.low + 0.5, option.low + 1):  # type: ignore[operator]
        value = type(option.default)(value)
        if option.low <= value <= option.high and value != option.default:
            return value
    raise AssertionError(f"name a value of `{key}` in OTHER")


def settings_for(options: dict[str, Option], key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the (fields, options) that must hold for an option to have an effect."""
    fields: dict[str, Any] = {}
    chosen: dict[str, Any] = dict(WITH.get(key, {}))
    for name, wanted in options[key].needs.items():
        if name in options:
            chosen[name] = wanted[-1]
            above = settings_for(options, name)
            fields, chosen = fields | above[0], above[1] | chosen
        else:
            fields[name] = None if wanted[0] == OWN else wanted[0]
    return fields, chosen


class Look:
    """Runs configs and keeps what they recorded, so that many options are compared with one run."""

    def __init__(self, finish: Callable[..., Any], contents: Callable[..., Recorded]) -> None:
        self.finish, self.contents = finish, contents
        self.known: dict[str, Recorded] = {}

    def __call__(self, config: RunConfig) -> Recorded:
        key = repr(resolve(config).to_json())
        if key not in self.known:
            found = self.contents(self.finish(config)[0])
            events = [event for event in found.pop("events") if event["event"] not in ("RunStarted", "CacheProgress")]
            del found["config.json"], found["environment.json"]
            self.known[key] = {**found, "events": events}
        return self.known[key]


@pytest.fixture
def look(finish: Callable[..., Any], contents: Callable[..., Recorded]) -> Look:
    """Return a function (config) -> what its run records, without its settings."""
    return Look(finish, contents)


def ignored(look: Look, make: Callable[..., RunConfig], options: dict[str, Option], **given: Any) -> list[str]:
    """Return the options whose value makes no difference to what a run records."""
    found = []
    for key, option in options.items():
        if key in NO_RESULT or len(option.choices) == 1:
            continue
        fields, chosen = settings_for(options, key)
        try:
            without = look(make(**given, **fields, set=chosen))
            if look(make(**given, **fields, set={**chosen, key: other_value(key, option)})) == without:
                found.append(key)
        except UsageError as error:
            assert f"`{key}` has no effect" in str(error), error
    return found


@pytest.fixture
def few_pictures(pictures: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a folder of five of the pictures in the data root."""
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(pictures().iterdir())[:5]:
        shutil.copy(file, few)
    return few


OWN_NETWORK = {"ocsvm": "pixels", "mhrot": "rotnet"}


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_option_of_a_recipe_makes_a_difference(
    look: Look,
    tiny: Callable[..., RunConfig],
    few_pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
) -> None:
    """A setting that is accepted, written down as if it had been heeded, and ignored."""
    row = RECIPES[recipe]
    monkeypatch.setitem(OTHER, "outliers", str(few_pictures))
    changes: dict[str, Any] = {"recipe": recipe, "steps": 2 if row.steps else 0, "train_limit": 16, "test_limit": 10}
    if recipe in OWN_NETWORK:
        changes |= {"backbone": OWN_NETWORK[recipe], "image_size": 32 if recipe == "ocsvm" else 16}
    if "ae_epochs" in row.options:
        changes["lr"] = 1e-3
    assert ignored(look, tiny, dict(row.options), **changes) == []


@pytest.mark.parametrize("scorer", sorted(key for key, row in SCORERS.items() if row.options))
def test_every_option_of_a_scorer_makes_a_difference(
    look: Look,
    tiny: Callable[..., RunConfig],
    few_pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    scorer: str,
) -> None:
    """Neighbours, means, a boundary or a background that stay what they are by default."""
    monkeypatch.setitem(OTHER, "background", str(few_pictures))
    changes = {"recipe": "frozen", "scorer": scorer, "steps": 0}
    assert ignored(look, tiny, dict(SCORERS[scorer].options), **changes) == []


def test_the_cut_makes_a_difference_or_is_refused(
    look: Look, tiny: Callable[..., RunConfig], spot: Callable[..., RunConfig]
) -> None:
    """A cut that is written down where nothing is adapted."""
    options = {"cut": BACKBONES["tiny"].options["cut"]}
    assert ignored(look, tiny, options, recipe="panda-early") == []
    for recipe in ("patchcore", "resad"):
        with pytest.raises(UsageError, match=f"`cut` has no effect with recipe `{recipe}`; got `input`"):
            resolve(spot(recipe=recipe, dataset="digits", batch_size=32, set={"cut": "input"}))


@pytest.mark.parametrize("method", sorted(SEGMENTERS))
def test_every_option_of_a_segmenter_makes_a_difference(
    look: Look, spot: Callable[..., RunConfig], method: str
) -> None:
    """A bank, a space or a score that stays what it is by default."""
    assert ignored(look, spot, dict(SEGMENTERS[method].options), recipe=method) == []


@pytest.mark.parametrize("method", sorted(GENERALISERS))
def test_every_option_of_a_generaliser_makes_a_difference(
    look: Look, tiny: Callable[..., RunConfig], method: str
) -> None:
    """A flow, references or seen classes other than those that were asked for."""

    def make(**changes: Any) -> RunConfig:
        small = {"seen": "4@digits,5@digits", "seen_limit": 12, "blocks": 2, "position_width": 8}
        given = {"recipe": method, "eval_every": None, "lr": 1e-3, "steps": 2, "test_limit": 30}
        return tiny(**{**given, **changes, "set": {**small, **changes.get("set", {})}})

    options = dict(GENERALISERS[method].options)
    assert ignored(look, make, options) == []


def test_what_an_option_needs_exists() -> None:
    """A condition that no value can meet, on a setting that is spelt otherwise or stands in another recipe."""
    tables = [row.options for table in (RECIPES, SCORERS, SEGMENTERS, GENERALISERS) for row in table.values()]  # type: ignore[attr-defined]
    fields = set(RunConfig().to_json())
    for options in tables:
        for key, option in options.items():
            for name, wanted in option.needs.items():
                assert name in fields or [str(options[name].parse(name, value)) for value in wanted] == [*wanted], key
                assert name in fields or option.default != other_value(key, option)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_defaults_written_out_are_accepted_again(
    tiny: Callable[..., RunConfig], recipe: str, pictures: Callable[..., Any]
) -> None:
    """A saved run that cannot be resumed because its own defaults are refused."""
    config = resolve(tiny(recipe=recipe, steps=None, feature_norm="l2"))
    assert resolve(config) == config and set(options_of(config)) == set(config.set)
    assert not np.any([value is None for value in config.set.values()])


@pytest.mark.parametrize("recipe", sorted(recipe for kind in KINDS for recipe in kind.recipes))
def test_a_run_copied_as_a_command_or_program_is_the_same_run(recipe: str) -> None:
    """`--set weights=` at the end of a command, which sets nothing and reads like something that was cut off."""
    with noting_missing():
        config = resolve(RunConfig(recipe=recipe))
    words = shlex.split(config.to_command())
    assert not [word for word in words if word.endswith("=") or not word]
    assert "''" not in config.to_python() and '""' not in config.to_python()
    with noting_missing():
        assert resolve(config_of(parser().parse_args(words[3:]))) == config
