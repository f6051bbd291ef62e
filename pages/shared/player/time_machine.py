"""The time machine: all panels of a run under one scrubber, in the browser alone once its numbers have arrived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.component import component
from pages.shared.frame.teaching import hidden_panels
from pages.shared.frame.thumbnails import embedded
from pages.shared.player.story import gauges_of, pace_of, story_of
from pages.shared.player.time_machine_maps import film_of, find_maps, same_images
from pages.shared.runs.choice import find_run
from pages.shared.runs.images import find_images, tile
from panda_core.errors import BrokenRun, PandaError
from panda_core.figures import Moment, curve_of, jumps, thinned, time_machine
from panda_core.methods.alarm import fired, readings
from panda_core.methods.table import RECIPES, find_recipe
from panda_core.runs.calibration import calibrated
from panda_core.runs.folder import ENDED
from panda_core.runs.loaded import LoadedRun

_HERE = Path(__file__).parent
# One script of several files: what others use comes first, then what is exported.
_SCRIPTS = (
    "time_machine_cloud.js",
    "time_machine_charts.js",
    "time_machine_images.js",
    "time_machine_player.js",
    "time_machine.js",
)
_MACHINE = component("panda_time_machine", _HERE / "time_machine.html", scripts=[_HERE / script for script in _SCRIPTS])
AT = "at"  # query parameter: the step that is shown
SIDE = 48  # pixels of a thumbnail
# Whether each image has a step of its own -> what the step that its rule chose is called.
_STOPPED = {
    False: {
        "mark": "stopped",
        "name": "where it stopped",
        "about": "The step that the run's own rule stopped at, without labels",
    },
    True: {
        "mark": "median",
        "name": "median step",
        "about": "Each image has a step of its own, chosen without labels: this is the median of these steps",
    },
}


def show_time_machine(
    run: LoadedRun, *, key: str, plays: bool, at: int | None = None, hidden: Sequence[str] = ()
) -> None:
    """Draw the time machine of a run with at least one measurement. A run that lacks arrays raises `PandaError`.

    plays: whether it starts by itself; one whose address names a step stands still there. at: the step at which it
    stands before anybody moves it, if the address names none. hidden: panels that are left out.
    """
    hidden = [*hidden_panels(), *hidden]
    maps = None if "heatmap" in hidden else find_maps(run)
    data = _numbers(run.run_id, len(run.evaluated), run.metrics is not None, "" if maps is None else maps.run_id)
    named = place_of(st.query_params.get(AT, ""), data["steps"])
    start = place_of("" if at is None else str(at), data["steps"]) if named is None else named
    shown = {"start": start or 0, "plays": plays and start is None, "hidden": hidden, "end": end_of([run])}
    _MACHINE(key=key, data={**data, **shown})


def end_of(runs: Sequence[LoadedRun]) -> int:
    """Return the step at which the axes of these runs end: the last one that is planned where one still computes."""
    computing = [int(run.config.steps or 0) for run in runs if run.state().state not in ENDED]
    return max([*computing, *(event.step for run in runs for event in run.evaluated[-1:])])


def place_of(text: str, steps: list[int]) -> int | None:
    """Return which of the measured steps an address means: the nearest; None for what is no step."""
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        return None
    return int(np.argmin([abs(step - int(text)) for step in steps]))


@st.cache_resource(max_entries=16, show_spinner=False)
def _numbers(run_id: str, points: int, finished: bool, maps_id: str) -> dict[str, Any]:
    """Return all numbers and pictures of a run with so many measurements, with the maps of a segmentation if any."""
    folder, maps = find_run(run_id), find_run(maps_id)
    if folder is None:
        raise BrokenRun("The folder of this run is gone.")
    return machine_data(LoadedRun(folder), None if maps is None else LoadedRun(maps))


def machine_data(run: LoadedRun, maps: LoadedRun | None = None) -> dict[str, Any]:
    """Return what the browser needs of a run. maps: a segmentation with its checkpoints, for the heatmap."""
    places = thinned(len(run.evaluated))
    evaluated, told = [run.evaluated[place] for place in places], readings(run.evaluated)
    alarms = [told[place] for place in places]
    curve = curve_of(evaluated, last_step=run.config.steps, metrics=run.metrics)
    is_anomaly = np.array(run.split.is_anomaly, dtype=int)
    written = [run.folder.arrays_file(event.step).stat().st_mtime_ns for event in evaluated]
    moments = [_moment(run.run_id, event.step, when, run) for event, when in zip(evaluated, written, strict=True)]
    data = time_machine(curve, moments, is_anomaly, _among(run, maps))
    data["heat"] = _heat(run, maps, data)
    for image in data["twelve"]:
        image |= _picture(run, image["row"], image["anomalous"])
    words = story_of(curve, alarms)
    first = fired(run.evaluated)
    jumped = jumps(curve, None if first is None else int(np.searchsorted(places, first)))
    if not _rule_stopped(run):
        jumped["stop"] = None
    story = {"words": words, "pace": pace_of(curve, words), "gauges": gauges_of(alarms), "jumps": jumped}
    recipe = RECIPES.get(run.config.recipe)
    story["stopped"] = _STOPPED[recipe is not None and recipe.per_image]
    return data | story | {"run": run.run_id, "points": len(run.evaluated) + (run.metrics is not None)}


def _rule_stopped(run: LoadedRun) -> bool:
    """Return whether a rule of the run chose a step before its last: a fixed length chooses none."""
    try:
        rule = find_recipe(run.config.recipe).stop
    except PandaError:  # of a version to come
        return False
    return rule == "ses" or (rule == "alarm" and fired(run.evaluated) is not None)


@st.cache_resource(max_entries=256, show_spinner=False)
def _moment(run_id: str, step: int, written: int, _run: LoadedRun) -> Moment:
    """Return what was measured at a step; it is read once, while a run goes on to the next ones.

    written: when its file was.
    """
    arrays = _run.adapt_arrays(step)
    held_out, scores = arrays.held_out_scores, arrays.scores.astype(np.float64)
    calibration = calibrated(held_out)
    return Moment(
        train=arrays.projection_train,
        test=arrays.projection_test,
        scores=scores,
        held_out=held_out,
        singular_values=arrays.singular_values,
        normaliser=float(arrays.normaliser),
        threshold=calibration.threshold(),
        rejected=calibration.rejects(scores),
        refit_train=arrays.refit_train,
        refit_test=arrays.refit_test,
    )


def _among(run: LoadedRun, maps: LoadedRun | None) -> np.ndarray | None:
    """Return the rows of the test images that have maps, None for all: the strip shows those that can be looked at."""
    try:
        rows = np.empty(0, int) if maps is None else same_images(run, maps)[0]
    except (PandaError, KeyError):
        return None
    return rows if len(rows) else None


def _heat(run: LoadedRun, maps: LoadedRun | None, data: dict[str, Any]) -> dict[str, Any] | None:
    """Return the maps of the twelve images; None where there are none, or where their folder is damaged."""
    try:
        rows = [image["row"] for image in data["twelve"]]
        return None if maps is None else film_of(run, maps, data["steps"], rows) or None
    except (PandaError, KeyError, IndexError):
        return None


def _picture(run: LoadedRun, row: int, anomalous: bool) -> dict[str, str]:
    """Return the name of a test image for people, and its thumbnail where its data is on this machine."""
    try:
        name = f"{run.split.test[row]}, {'anomalous' if anomalous else 'normal'}"
        picture = tile(run, "test", row, SIDE) if find_images(run, "test")[0] is not None else None
    except (PandaError, IndexError):
        return {"name": f"test image {row}", "picture": ""}
    if picture is None:
        return {"name": name, "picture": ""}
    return {"name": name, "picture": embedded(picture)}


def title_of(run: LoadedRun) -> str:
    """Return what a run adapts to and how far, in a sentence, safe to show."""
    config = run.config
    return (
        f"{wording.sentence(config.name or wording.recipe(config.recipe))}: {config.dataset}, "
        f"{wording.sentence(str(config.normal_class))} is normal, "
        f"{config.steps} steps at learning rate {config.lr or 0:g}"
    )
