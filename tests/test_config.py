"""RunConfig: what it refuses, and its forms as JSON, as a command and as Python."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import panda_core
from panda_core.cli.arguments import parser
from panda_core.cli.flags import config_of
from panda_core.config import DEVICES, FEATURE_NORMS, Option, RunConfig, default_data_root, default_runs_dir
from panda_core.errors import UsageError

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
options = st.dictionaries(
    st.sampled_from(["k", "clip", "ses", "cut"]),
    st.integers(1, 99) | st.floats(1e-9, 1e9) | st.sampled_from(["A", "b c"]),
)
configs = st.builds(
    RunConfig,
    dataset=words,
    normal_class=st.none() | words,
    recipe=words,
    image_size=st.none() | st.integers(16, 1024),
    feature_norm=st.none() | st.sampled_from(FEATURE_NORMS),
    steps=st.none() | st.integers(0, 10**6),
    lr=st.none() | st.floats(1e-9, 100, exclude_min=True),
    train_limit=st.none() | st.integers(1, 10**7),
    seed=st.integers(0, 2**31 - 1),
    runs_dir=words,
    name=words,
    device=st.sampled_from([*DEVICES, "cuda:1"]),
    set=options,
)


@given(configs)
def test_json_gives_the_same_config(config: RunConfig) -> None:
    """A field lost or rounded on its way through `config.json`."""
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@given(configs)
@example(RunConfig(name="-x", dataset="--y", normal_class="-1"))
def test_the_command_gives_the_same_config(config: RunConfig) -> None:
    """A command shown to a person that starts another run: spaces, quotes, leading dashes, values equal to defaults."""
    words = shlex.split(config.to_command())
    assert words[:4] == ["python", "-m", "panda_core", "run"]
    parsed = config_of(parser().parse_args(words[3:]))
    assert parsed == config.replace(set={key: str(value) for key, value in config.set.items()})


def test_the_program_starts_the_same_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program shown to a person that does not run."""
    started: list[RunConfig] = []
    monkeypatch.setattr(panda_core, "run", lambda config: started.append(config) or [], raising=False)
    config = RunConfig(dataset="folder:/a 'b'", normal_class="3", lr=0.5, set={"k": 3, "ses": "A"})
    exec(config.to_python(), {})
    assert started == [config]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, bad) for name in ("steps", "seed") for bad in (-1, 1.5, "8", True, 10**30)),
        *(("image_size", bad) for bad in (15, 1025, 0)),
        *((name, bad) for name in ("batch_size", "eval_every", "train_limit", "test_limit") for bad in (0, -3)),
        *(("batch_size", bad) for bad in (math.nan, 4097)),
        *(("lr", bad) for bad in (0, -1, 101, math.nan, math.inf, "0.1", True, 10**309)),
        ("device", "gpu"),
        ("feature_norm", "l3"),
        ("dataset", None),
        ("name", 3),
        ("set", [1]),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(field: str, value: Any) -> None:
    """A bad value that is found hours later, or an exception that names neither the field nor the flag."""
    with pytest.raises(UsageError) as refused:
        RunConfig(**{field: value})
    message = str(refused.value)
    assert field.replace("_", " ") in message.replace("_", " ")
    assert f"--{field.replace('_', '-')}" in message or field == "set"


def test_a_class_may_be_given_by_its_index() -> None:
    """The digit 8 refused because it is a number."""
    assert RunConfig(normal_class=8) == RunConfig(normal_class="8")  # type: ignore[arg-type]


def test_a_field_from_another_version_is_refused() -> None:
    """A setting of a later version dropped without a word, and the run resumed with another one."""
    with pytest.raises(UsageError, match=r"`batch_sizes`.*`batch_size`"):
        RunConfig.from_json({"batch_sizes": 32})


def test_a_config_is_frozen_and_replaced_with_the_same_checks() -> None:
    """A run whose config changes under it."""
    config = RunConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.steps = 3  # type: ignore[misc]
    with pytest.raises(UsageError, match="steps"):
        config.replace(steps=-1)


def test_defaults_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable that is read at import, hence too early."""
    monkeypatch.setenv("PANDA_DATA", "/some/data")
    monkeypatch.setenv("PANDA_RUNS", "/some/runs")
    assert (RunConfig().data_root, RunConfig().runs_dir) == ("/some/data", "/some/runs")
    monkeypatch.delenv("PANDA_DATA")
    monkeypatch.delenv("PANDA_RUNS")
    assert default_data_root().endswith(".cache/panda_core/data")
    assert default_runs_dir() == "runs"


@pytest.mark.parametrize(
    ("option", "value", "parsed"),
    [
        (Option(default=2, low=1, high=9, help="", plain=""), "3", 3),
        (Option(default=2, low=1, high=9, help="", plain=""), 9, 9),
        (Option(default=0.5, low=0, high=9, help="", plain=""), "1e-3", 0.001),
        (Option(default=0.5, low=0, high=9, help="", plain=""), 3, 3.0),
        (Option(default="A", choices=("A", "B"), help="", plain=""), "B", "B"),
        (Option(default="", help="", plain=""), "layer2", "layer2"),
    ],
)
def test_options_take_the_type_of_their_default(option: Option, value: object, parsed: object) -> None:
    """Text from a command line left as text: "3" images."""
    assert option.parse("key", value) == parsed
    assert type(option.parse("key", value)) is type(parsed)


@pytest.mark.parametrize("value", ["0", "10", "1.5", 1.5, "many", "", "nan", True, None, "9" * 500, 10**400])
def test_bad_options_are_refused_in_one_sentence(value: object) -> None:
    """A whole number out of range, or text, where `--set` wants a number."""
    with pytest.raises(UsageError, match=r"`k` must be a whole number in \[1, 9\].*--set k=2"):
        Option(default=2, low=1, high=9, help="", plain="").parse("k", value)
    with pytest.raises(UsageError, match=r"`clip` must be a number"):
        Option(default=2.0, low=2.5, high=9, help="", plain="").parse("clip", "inf")


def test_an_unknown_choice_lists_the_known_ones() -> None:
    """A choice refused without saying what there is."""
    with pytest.raises(UsageError, match="`ses` `C`; known: `A`, `B`"):
        Option(default="A", choices=("A", "B"), help="", plain="").parse("ses", "C")
