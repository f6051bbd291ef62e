"""Runs as rows of a table, whatever state their folders are in."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from pages.shared.frame import wording
from pages.shared.runs.choice import is_recorded
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.figures import Curve, curve_of
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import options_of
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.owner import upload_of

_IMAGES = ("dataset", "normal_class", "train_limit", "test_limit", "roi", "image_size")
_START = (*_IMAGES, "backbone", "feature_norm", "seed")
NOT_COMPARED = ("name", "runs_dir", "data_root", "device")


@dataclasses.dataclass(frozen=True)
class Row:
    """A run in the table.

    problem: why its folder cannot be read; all else is then empty.
    """

    folder: RunFolder
    config: RunConfig
    state: str
    metrics: dict[str, Any]
    curve: Curve
    problem: str = ""

    @property
    def label(self) -> str:
        """The run in a few words, by which it is told apart from all others."""
        if is_recorded(self.folder):
            return f"{wording.run_title(self.config)} (recorded)"
        return wording.run_label(self.folder, self.config)

    def cells(self) -> dict[str, Any]:
        recorded = is_recorded(self.folder)
        return {
            "Name": wording.run_title(self.config) if recorded else self.label,
            "Data set": "dropped images" if upload_of(self.config) else self.config.dataset,
            "Normal class": str(self.config.normal_class),
            "Recipe": wording.recipe(self.config.recipe),
            "State": "recorded" if recorded else self.state,
            "AUROC": wording.auroc(self.metrics.get("auroc")),
            "Unadapted": wording.auroc(self.metrics.get("unadapted_auroc", _first(self.curve.auroc))),
            "Steps": wording.step(self.config.steps),
            "Started": "with the program" if recorded else wording.started(self.folder),
        }


def row_of(folder: RunFolder) -> Row:
    """Return the row of a run; a folder that cannot be read gives a row that says so."""
    run = LoadedRun(folder)
    try:
        config, metrics = run.config, run.metrics or {}
        curve = curve_of(run.evaluated, label=wording.run_title(config), last_step=config.steps, metrics=metrics)
        row = Row(folder, config, folder.state().state, metrics, curve)
        return dataclasses.replace(row, curve=dataclasses.replace(curve, label=row.label))
    except (PandaError, TypeError, KeyError, AttributeError) as error:
        reason = str(error) if isinstance(error, PandaError) else f"Run `{folder.run_id}` is damaged: {error}."
        return Row(folder, RunConfig(), "broken", {}, Curve(), reason)


def start_alike(rows: Sequence[Row]) -> bool:
    """Return whether runs have the same images, start and seed, as the rivals of a race do."""
    return len({tuple(getattr(row.config, key) for key in _START) for row in rows}) == 1


def chosen_otherwise(row: Row) -> str:
    """Return what the final AUROC of a run is of, where it is not that of its curve's last point; else nothing."""
    final, known = row.metrics.get("auroc"), [value for value in row.curve.auroc if value is not None]
    if final is None or not known or abs(final - known[-1]) < 0.0005:
        return ""
    rule = wording.stop_rule(row.config.recipe, row.metrics)
    return f"{row.label}: its curve shows each step alone. Its final AUROC, {final:.3f}, is of another choice: {rule}."


def differing_settings(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return one line for each setting in which the runs differ: its name, and its value in each run."""
    flat = [_flat(row.config) for row in rows]
    lines = []
    for key in sorted({key for settings in flat for key in settings}):
        values = [settings.get(key) for settings in flat]
        if len(set(values)) > 1:
            shown = [wording.recipe(str(value)) if key[1] == "recipe" else _shown(value) for value in values]
            if len(set(shown)) < len(set(values)):  # they differ further down than three digits
                shown = [str(value) for value in values]
            lines.append(
                {"Setting": wording.setting(key[1])}
                | {row.label: value for row, value in zip(rows, shown, strict=True)}
            )
    return lines


def _flat(config: RunConfig) -> dict[tuple[bool, str], Any]:
    """Return fields and options by whether they are an option, and their key: fields come first.

    What a run of an older version does not say has the value that it has had since; "" is none, as None is.
    """
    record = config.to_json()
    options = record.pop("set")
    with contextlib.suppress(PandaError):  # a recipe of a version to come
        options = {key: option.default for key, option in options_of(config).items()} | options
    fields = {(False, key): value for key, value in record.items() if key not in NOT_COMPARED}
    settings = fields | {(True, key): value for key, value in options.items()}
    return {key: None if value == "" else value for key, value in settings.items()}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else wording.amount(value)
    return wording.NONE if value is None else str(value)


def _first(values: Sequence[float | None]) -> float | None:
    return values[0] if values else None
