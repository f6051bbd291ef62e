"""The one description of a run: `RunConfig`, frozen, and its forms as JSON, as a command and as Python."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panda_core.errors import UsageError, unknown_name

DEVICES = ("auto", "cpu", "cuda", "mps")
FEATURE_NORMS = ("none", "l2", "whiten")
TILES_OFF, TILES_AUTO = "off", "auto"  # `tiles` without a number: photos are looked at whole; the run decides
FEWEST_TILES, MOST_TILES = 2, 16  # along the longer side of a photo
CONFIG_FILE, STATE_FILE = "config.json", "state.json"  # by which a folder is known to be a run's


def default_data_root() -> str:
    """Return `$PANDA_DATA`, else `~/.cache/panda_core/data`."""
    return str(_place("PANDA_DATA", "~/.cache/panda_core/data"))


def default_runs_dir() -> str:
    """Return `$PANDA_RUNS`, else `runs` in the current folder."""
    return str(_place("PANDA_RUNS", "runs"))


def default_cache_dir() -> Path:
    """Return `$PANDA_CACHE_DIR`, else `~/.cache/panda_core/cache`."""
    return _place("PANDA_CACHE_DIR", "~/.cache/panda_core/cache")


def _place(variable: str, default: str) -> Path:
    """Return the path in an environment variable, else the default; a shell may not have expanded its `~`."""
    return Path(os.environ.get(variable) or default).expanduser()


def cache_cap() -> int:
    """Return the cap of the cache in bytes, from `PANDA_CACHE_GB` (10)."""
    text = os.environ.get("PANDA_CACHE_GB") or "10"
    try:
        cap = float(text)
    except ValueError:
        cap = -1.0
    if not 0 < cap < 1e6:
        raise UsageError(f"`PANDA_CACHE_GB` must be a number of gigabytes above 0; got `{text}`. Set it to 10.")
    return int(cap * 1e9)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One `--set key=value` that a recipe, scorer or backbone understands.

    default: what it is where nothing is set. A value is an int, a float or a str, as this one is.
    help: what it is, in the words of the field, for the command line.
    plain: what it is, in plain words, for the app's tooltips (Markdown).
    low, high: numbers lie in [low, high].
    choices: a str is one of these, where there are any.
    needs: other option, or field of the config -> values with which alone this option has an effect; with others
        only its default is accepted.
    """

    default: int | float | str
    help: str
    plain: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def unmet(self, values: Mapping[str, object]) -> str | None:
        """Return the name in `needs` whose value keeps this option from having an effect, or None."""
        return next((name for name, wanted in self.needs.items() if str(values.get(name)) not in wanted), None)

    def parse(self, key: str, value: object) -> int | float | str:
        """Return `value` (often text from a command line) as this option's type, or raise `UsageError`."""
        if isinstance(self.default, str):
            if self.choices and value not in self.choices:
                raise unknown_name(f"value of `{key}`", str(value), self.choices, f"--set {key}=")
            return str(value)
        kind = type(self.default)
        what = "a whole number" if kind is int else "a number"
        try:
            number = kind(value) if not isinstance(value, float) or kind is float else kind(str(value))  # type: ignore[arg-type,call-overload]
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not self.low <= number <= self.high or not math.isfinite(number):
            raise UsageError(
                f"`{key}` must be {what} in [{self.low:g}, {self.high:g}]; got `{value}`. "
                f"Set it with `--set {key}={self.default}`."
            )
        return number


def whiten_dims(default: int) -> Option:
    """Return the option of every run that whitens features."""
    return Option(
        default=default,
        low=1,
        high=4096,
        help="largest number of directions that whitening tells apart; the rest counts with the ridge alone",
        plain="In how many directions, at most, the spread of normal images is measured when features are whitened. "
        "All others count as directions in which normal images hardly vary.",
        needs={"feature_norm": ("whiten",)},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run, wholly described. `None` means "the default of the chosen recipe, backbone or dataset".

    `panda_core.runs.kinds` replaces every None but those of the limits, where it means "all". `roi` is the image file
    of a region of interest, white where pictures count; resolved, it has the region's SHA-256. `set` holds what `--set`
    sets: options of the recipe, the scorer and the backbone (`python -m panda_core recipes --json` lists them).
    """

    dataset: str = "digits"
    normal_class: str | None = None
    recipe: str = "panda-early"
    scorer: str | None = None
    backbone: str | None = None
    image_size: int | None = None
    feature_norm: str | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    eval_every: int | None = None
    train_limit: int | None = None
    test_limit: int | None = None
    seed: int = 0
    data_root: str = dataclasses.field(default_factory=default_data_root)
    runs_dir: str = dataclasses.field(default_factory=default_runs_dir)
    name: str = ""
    roi: str = ""
    device: str = "auto"
    tiles: str = TILES_OFF
    set: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("dataset", "recipe", "scorer", "backbone", "data_root", "runs_dir", "name", "roi", "device"):
            value = getattr(self, key)
            if not isinstance(value, str) and not (value is None and key in ("scorer", "backbone")):
                raise UsageError(f"`{key}` must be text; got {getattr(self, key)!r}. Set `{flag(key)}`.")
        if isinstance(self.normal_class, int) and not isinstance(self.normal_class, bool):
            object.__setattr__(self, "normal_class", str(self.normal_class))
        _check_number(self, "image_size", 16, 1024)
        _check_number(self, "steps", 0, 1_000_000)
        _check_number(self, "batch_size", 1, 4096)
        _check_number(self, "eval_every", 1, 1_000_000)
        _check_number(self, "train_limit", 1, 10_000_000)
        _check_number(self, "test_limit", 1, 10_000_000)
        _check_number(self, "seed", 0, 2**31 - 1)
        if self.lr is not None and not (_is_real(self.lr) and 0 < self.lr <= 100):
            raise UsageError(f"`lr` must be a number in (0, 100]; got `{self.lr}`. Set `--lr 0.05`.")
        if self.device not in DEVICES and not re.fullmatch(r"cuda:\d{1,3}", self.device):
            raise unknown_name("device", self.device, [*DEVICES, "cuda:N"], "--device")
        _check_tiles(self)
        if self.feature_norm is not None and self.feature_norm not in FEATURE_NORMS:
            raise unknown_name("feature norm", str(self.feature_norm), FEATURE_NORMS, "--feature-norm")
        if not isinstance(self.set, Mapping):
            raise UsageError(f"`set` must map option names to values; got {self.set!r}.")

    def replace(self, **changes: Any) -> RunConfig:
        """Return a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {**dataclasses.asdict(self), "set": dict(self.set)}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> RunConfig:
        """Return the config of a JSON object; a field this version does not know raises `UsageError`."""
        known = {field.name for field in dataclasses.fields(RunConfig)}
        for key in record:
            if key not in known:
                raise unknown_name("field of a run's config", key, sorted(known), "--")
        return RunConfig(**record)

    def to_flags(self) -> list[str]:
        """Return the command-line flags that give this config, without those that repeat a default."""
        flags = []
        for key, value in self._given().items():
            if isinstance(value, Mapping):
                flags += [part for name, item in value.items() for part in ("--set", f"{name}={item}")]
            else:
                # A value that starts with a dash would be taken for a flag.
                text = str(value)
                flags += [f"{flag(key)}={text}"] if text.startswith("-") else [flag(key), text]
        return flags

    def to_command(self) -> str:
        """Return the shell command that starts this run."""
        return " ".join(["python -m panda_core run", *(shlex.quote(part) for part in self.to_flags())])

    def to_python(self) -> str:
        """Return the Python program that starts this run and prints its curve."""
        fields = [f"{key}={value!r}" for key, value in self._given().items()]
        return (
            "from panda_core import Evaluated, RunConfig, run\n\n"
            f"for event in run(RunConfig({', '.join(fields)})):\n"
            "    if isinstance(event, Evaluated):\n"
            "        print(event.step, event.auroc)\n"
        )

    def _given(self) -> dict[str, Any]:
        """Return the fields whose value is no default; an option that is "" names nothing, and is left out of `set`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunConfig)}
        values["set"] = {key: item for key, item in self.set.items() if item != ""}
        default = RunConfig()
        return {key: value for key, value in values.items() if value not in (None, getattr(default, key))}


def flag(field: str) -> str:
    """Return the command-line flag of a config field: `eval_every` -> `--eval-every`."""
    return "--" + field.replace("_", "-")


def _check_tiles(config: RunConfig) -> None:
    """Write a number of tiles as text; `UsageError` for what is no number of them, `off` or `auto`."""
    tiles = str(config.tiles)
    number = int(tiles) if tiles.isascii() and tiles.isdigit() and len(tiles) < 5 else 0
    if tiles not in (TILES_OFF, TILES_AUTO) and not FEWEST_TILES <= number <= MOST_TILES:
        raise UsageError(
            f"`tiles` must be off, auto or a whole number in [{FEWEST_TILES}, {MOST_TILES}], of tiles along the longer "
            f"side of a photo; got `{tiles}`. Set `--tiles auto`."
        )
    object.__setattr__(config, "tiles", str(number or tiles))


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _check_number(config: RunConfig, key: str, low: int, high: int) -> None:
    value = getattr(config, key)
    if value is None and RunConfig.__dataclass_fields__[key].default is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"`{key}` must be a whole number in [{low}, {high}]; got `{value}`. Set `{flag(key)} N`.")
