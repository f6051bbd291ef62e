"""How numbers, times, states and runs are put into words."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from panda_core.config import RunConfig
from panda_core.few_shot.table import GENERALISERS
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import RunFolder
from panda_core.segmentation.table import SEGMENTERS

NONE = "–"  # what stands where there is no number

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHORT = {"ewc": "EWC", "ses": "SES", "svm": "SVM", "l2": "L2"}
_SETTINGS = {
    "dataset": "Data set",
    "lr": "Learning rate",
    "eval_every": "Measure every",
    "train_limit": "Training images",
    "test_limit": "Test images",
    "backbone": "Network",
    "scorer": "Score",
    "roi": "Region of interest",
}

Colour = Literal["green", "blue", "orange", "red", "gray"]

STATES: dict[str, tuple[str, Colour]] = {
    "queued": (":material/hourglass_empty:", "gray"),
    "running": (":material/progress_activity:", "blue"),
    "finished": (":material/check_circle:", "green"),
    "stopped": (":material/stop_circle:", "orange"),
    "failed": (":material/error:", "red"),
    "interrupted": (":material/power_off:", "orange"),
}


def auroc(value: float | None) -> str:
    """Return an AUROC with three digits, or a dash where it is undefined."""
    return NONE if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Return a share as "41.3 %", or a dash where it is undefined."""
    return NONE if value is None else f"{100 * value:.1f} %"


def interval(low: float | None, high: float | None) -> str:
    """Return "0.977 to 0.996", or a dash."""
    return NONE if low is None or high is None else f"{low:.3f} to {high:.3f}"


def amount(value: float | None) -> str:
    """Return any other number with three significant digits, as people write it, or a dash."""
    if value is None:
        return NONE
    digits, power, exponent = f"{value:.3g}".partition("e")
    return f"{digits} × 10{str(int(exponent)).translate(_RAISED)}" if power else digits


def counting(share: float) -> str:
    """Return how much of a picture is its region of interest, as a sentence."""
    return f"{100 * share:.0f} % of the picture counts."


def step(value: float | None) -> str:
    """Return a step; a median over images may lie between two."""
    return NONE if value is None else f"{value:g}"


def duration(seconds: float) -> str:
    """Return a duration as a person says it: "8 s", "2 min 5 s", "1 h 20 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(seconds: float) -> str:
    """Return when something happened: the time alone if it was today."""
    then = datetime.fromtimestamp(seconds)
    today = then.date() == datetime.fromtimestamp(time.time()).date()
    return then.strftime("%H:%M" if today else "%d %b %Y, %H:%M")


def started(folder: RunFolder) -> str:
    """Return when a run was made, as its id says."""
    match = re.match(r"(\d{8}-\d{6})-", folder.run_id)
    return moment(datetime.strptime(match[1], "%Y%m%d-%H%M%S").timestamp()) if match else NONE


def run_title(config: RunConfig) -> str:
    """Return a run in a few words: its own name, else what it adapts to and how."""
    return config.name or f"{config.dataset}, normal {config.normal_class}, {recipe(config.recipe)}"


def run_label(folder: RunFolder, config: RunConfig) -> str:
    """Return a run in a few words, and the end of its id, which tells apart runs of the same name."""
    return f"{run_title(config)} ({folder.run_id[-4:]})"


def recipe(key: str) -> str:
    """Return a recipe by its name: "PANDA, elastic weights (EWC)"; of one that is not known here, its key."""
    titles = {known: row.title for known, row in RECIPES.items()}
    titles |= {known: row.title for known, row in SEGMENTERS.items()}
    titles |= {known: row.title for known, row in GENERALISERS.items()}
    return titles.get(key, key)


def stop_rule(key: str, metrics: Mapping[str, Any]) -> str:
    """Return what chose the step of a run's final scores; "" for a recipe that is not known here.

    metrics: final ones of the run, which may have ended before the length that was asked for.
    """
    row = RECIPES.get(key)
    if row is None:
        return ""
    return "ended early" if row.stop == "last" and metrics.get("end_reason") else row.chosen_by


def sentence(text: str) -> str:
    """Return `text` safe to show as Markdown: file names and reasons may hold any character."""
    return re.sub(r"([\\*_{}\[\]<>#$~|!:])", r"\\\1", text)


def setting(key: str) -> str:
    """Return what a field or an option is called in forms and tables: "Learning rate", "EWC strength"."""
    words = _SETTINGS.get(key) or key.replace("_", " ").capitalize()
    return " ".join(_SHORT.get(word.lower(), word) for word in words.split(" "))


def count(number: int, noun: str) -> str:
    """Return "1 image", "3 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
