"""A duel: up to four runs under one scrubber, in one chart, with a cloud for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.component import component
from pages.shared.frame.glossary import tip
from pages.shared.player.story import SAME
from pages.shared.player.time_machine import end_of, machine_data
from pages.shared.run.results import change
from pages.shared.runs.progress import progress_of, waiting
from panda_core.errors import PandaError
from panda_core.figures import style
from panda_core.methods.table import find_recipe
from panda_core.runs.folder import ENDED
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.run import runs_ahead

_HERE = Path(__file__).parent
_PLAYER = _HERE.parent / "player"
_SCRIPTS = (
    _PLAYER / "time_machine_cloud.js",
    _PLAYER / "time_machine_charts.js",
    _PLAYER / "time_machine_player.js",
    _HERE / "duel.js",
)
_DUEL = component("panda_duel", _HERE / "duel.html", css=[_PLAYER / "time_machine.css"], scripts=_SCRIPTS)
MOST = len(style.RUNS)  # runs under one scrubber: each has a colour
# Where a recipe trains as another one does, and differs in the step behind its scores: what is said below its cloud.
_RULES = {
    "ses": "These steps are those of a plain run; only the final scores differ.",
    "alarm": "These steps are those of a plain run; only the final scores differ: they are of the unadapted network "
    "and the step that the alarm chose.",
}
_NEEDED = ("steps", "auroc", "anomalous_ratio", "clouds", "frame", "words")


def show_duel(runs: Sequence[LoadedRun], *, key: str) -> None:
    """Draw up to four runs; those without a measurement are left out. Of those that compute, say what they do."""
    if any(run.evaluated for run in runs[:MOST]):
        _DUEL(key=key, data=duel_data(runs[:MOST]))
        st.caption(tip("duel"))
    for run in runs[:MOST]:
        state = run.state().state
        if state not in ENDED or not run.evaluated:
            st.caption(f"**{wording.sentence(label_of(run))}**: {_doing(run, state)}.")


def _doing(run: LoadedRun, state: str) -> str:
    """Return what a run does that is in its place in a race, or how it ended without a measurement."""
    if state in ENDED:
        return f"{state}, nothing was measured"
    if state == "queued":
        return waiting(runs_ahead(run.folder)).stage
    return progress_of(run.events(), int(run.config.steps or 0)).stage


def duel_data(runs: Sequence[LoadedRun]) -> dict[str, Any]:
    """Return what the browser needs: each run's numbers, and where it stands at each step of all runs together.

    A run without a measurement is left out, and keeps its place, which decides colour, dash and shape, for later.
    `waiting` says that there is one which may still have one: nobody has won by then. `came` says what came of a run
    that has ended: its final scores may be of other steps than the one that the scrubber stands at.
    """
    awaited = any(not run.evaluated and run.state().state not in ENDED for run in runs)
    places = [place for place, run in enumerate(runs) if run.evaluated]
    runs = [runs[place] for place in places]
    numbers = [{name: _data(run)[name] for name in (*_NEEDED, "auroc_range", "ratio_range", "colours")} for run in runs]
    steps = sorted({step for data in numbers for step in data["steps"]})
    shown = []
    for place, run, data in zip(places, runs, numbers, strict=True):
        at = positions_at(data["steps"], steps)
        shown.append(
            {name: data[name] for name in _NEEDED}
            | {"label": label_of(run), "place": place, "colour": style.RUNS[place]}
            | {"at": at, "until": steps.index(data["steps"][-1])}
            | {"note": _RULES.get(_rule_of(run), ""), "came": came_of(run, data["steps"], data["auroc"])}
            | {"final": (run.metrics or {}).get("auroc"), "state": run.state().state}
        )
    return {
        "steps": steps,
        "end": end_of(runs),
        "waiting": awaited,
        "equal": told_equal([run["label"] for run in shown], numbers),
        "runs": shown,
        "jumps": {},
        "colours": numbers[0]["colours"],
        "auroc_range": [min(data["auroc_range"][0] for data in numbers), 1.0],
        "ratio_range": [0, max(data["ratio_range"][1] for data in numbers)],
    }


def came_of(run: LoadedRun, steps: Sequence[int], auroc: Sequence[float | None]) -> dict[str, str]:
    """Return how the final AUROC of a run came about, and why it is no better; nothing where it has none.

    steps, auroc: what was measured on the way.
    """
    final = (run.metrics or {}).get("auroc")
    known = [(value, step) for step, value in zip(steps, auroc, strict=True) if value is not None]
    if final is None or not known:
        return {}
    (first, _), (last, end), (best, at) = known[0], known[-1], max(known, key=lambda pair: pair[0])
    if abs(final - last) >= 0.0005:
        why = f"Step {end} alone has {last:.3f}, and step {at}, its best, {best:.3f}; the rule saw no labels."
    elif best - final > SAME:
        why = f"At step {at} it had {best:.3f}; what came after cost {best - final:.3f}."
    elif max(abs(value - first) for value, _ in known) <= SAME:
        why = f"It hardly changed: from {min(known)[0]:.3f} to {best:.3f} at all steps."
    else:
        why = "It ended at its best." if at == end else f"It ended near its best, {best:.3f} at step {at}."
    return {"rule": f"{change(final - first)}; {wording.stop_rule(run.config.recipe, run.metrics or {})}", "why": why}


def told_equal(labels: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence for each group of runs whose curves lie on one another, "" where none do."""
    groups: dict[str, list[str]] = {}
    for label, data in zip(labels, numbers, strict=True):
        groups.setdefault(repr([data[name] for name in ("steps", "auroc", "anomalous_ratio")]), []).append(label)
    return " ".join(
        f"{' = '.join(group)}: equal at every step measured. Their curves lie on one another, the first drawn wider."
        for group in groups.values()
        if len(group) > 1
    )


def positions_at(own: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return for each of `steps` which of its own steps a run stands at: the last one not after it."""
    return [int(np.searchsorted(own, step, side="right")) - 1 for step in steps]


def label_of(run: LoadedRun) -> str:
    """Return a run in a word or two: its own name, else its recipe."""
    return run.config.name or wording.recipe(run.config.recipe)


def _rule_of(run: LoadedRun) -> str:
    try:
        return find_recipe(run.config.recipe).stop
    except PandaError:  # of a version to come
        return ""


def _data(run: LoadedRun) -> dict[str, Any]:
    return _cached(run.run_id, len(run.evaluated), run.metrics is not None, run)


@st.cache_resource(max_entries=16, show_spinner=False)
def _cached(run_id: str, points: int, finished: bool, _run: LoadedRun) -> dict[str, Any]:
    return machine_data(_run)
