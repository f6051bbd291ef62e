"""The words beside the film: at every step of every recorded run they are true of that step's numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pages.shared.home_page import FILMS
from pages.shared.player.story import CAPTIONS, CLAIMS, READING, SAME, gauges_of, numbers_of, pace_of, story_of
from pages.shared.player.time_machine import machine_data
from pages.shared.runs.choice import find_run, recorded_runs
from panda_core.events import Evaluated
from panda_core.figures import Curve, curve_of
from panda_core.methods.alarm import HEALTHY, LOSING, SUFFERING, Reading, readings
from panda_core.runs.folder import list_runs
from panda_core.runs.loaded import LoadedRun

RECORDED = [run.run_id for run in map(LoadedRun, list_runs(recorded_runs())) if not run.has_maps]
RANDOM = list(range(40))


def curve(*auroc: float | None, ratio: tuple[float, ...] = ()) -> Curve:
    many = len(auroc)
    return Curve(
        steps=tuple(range(many)),
        auroc=auroc,
        anomalous_ratio=ratio or (2.0,) * many,
        spread=(1.0,) * many,
        effective_rank=(9.0,) * many,
        last_step=many,
    )


def event(step: int, overlap: float, stand_in: float | None = None, margin: float | None = None) -> Evaluated:
    return Evaluated(
        step=step, images_seen=0, auroc=None, auroc_low=None, auroc_high=None, center_auroc=None, spread=1.0,
        normal_ratio=1.0, anomalous_ratio=None, effective_rank=9.0, alarm="adapting", seconds=0.1,
        neighbour_overlap=overlap, stand_in_auroc=stand_in, rounding_margin=margin,
    )  # fmt: skip


def told(name: str | int) -> tuple[Curve, list[Reading]]:
    """Return the curve and the alarms of a recorded run, or of one drawn at random, half of them without labels."""
    if isinstance(name, str):
        folder = find_run(name)
        assert folder is not None
        evaluated = LoadedRun(folder).evaluated
        return curve_of(evaluated), readings(evaluated)
    rng = np.random.default_rng(name)
    walk = np.clip(0.9 + np.cumsum(rng.normal(0, 0.02, 30)), 0, 1)
    ratio = tuple(np.abs(1.5 + np.cumsum(rng.normal(0, 0.2, 30))))
    alarms = readings(
        [
            event(step, *values)
            for step, values in enumerate(
                zip(
                    np.clip(1 - 0.03 * np.cumsum(rng.random(30)), 0, 1),
                    np.clip(0.9 + np.cumsum(rng.normal(0, 0.02, 30)), 0, 1),
                    10 ** (6 - 0.2 * np.cumsum(rng.random(30))),
                    strict=True,
                )
            )
        ]
    )
    return curve(*(walk if name % 2 else [None] * 30), ratio=ratio), alarms


@pytest.mark.parametrize("name", [*RECORDED, *RANDOM])
def test_every_caption_holds_of_its_step(name: str | int) -> None:
    """A film that calls a run healthy while its AUROC falls, or says that all is lost while scores are best."""
    drawn, alarms = told(name)
    words = story_of(drawn, alarms)
    assert len(words) == len(drawn.steps) > 1
    for said, now in zip(words, numbers_of(drawn, alarms), strict=True):
        assert CLAIMS[said["key"]](now), (said, now)
        assert said["caption"] == CAPTIONS[said["key"]]


def test_what_is_said_beside_a_film_of_home_is_so() -> None:
    """A sentence of a collapse over a film that loses nothing, and a level line that is spoken of and not drawn."""
    said = {run_id: told(run_id)[0] for run_id in FILMS}
    auroc = {run_id: np.array(drawn.auroc, float) for run_id, drawn in said.items()}
    gain = {run_id: values - values[0] for run_id, values in auroc.items()}
    cells, digits, ships, held = FILMS
    assert "about as well as whitening" in FILMS[cells] and "better" in FILMS[cells]
    assert gain[cells][-1] == max(gain[cells]) > SAME
    assert said[cells].whitened_auroc == pytest.approx(auroc[cells][-1], abs=SAME)
    assert "loses most of the gain: all are drawn together" in FILMS[digits]
    assert max(gain[digits]) > SAME and gain[digits][-1] < max(gain[digits]) / 2
    assert (said[digits].anomalous_ratio[0] or 0) > 2 and (said[digits].anomalous_ratio[-1] or 9) < 1.1
    assert "first finds other things better, then worse than with nothing adapted" in FILMS[ships]
    assert max(gain[ships]) > SAME and gain[ships][-1] < -SAME
    assert "better, and so to the last step" in FILMS[held]
    assert min(gain[held][1:]) > SAME / 2


@pytest.mark.parametrize("name", [*RECORDED, *RANDOM])
def test_a_caption_stays_until_it_is_read(name: str | int) -> None:
    """Three captions within a second and a half; a film that takes a minute where nothing happens."""
    drawn, alarms = told(name)
    words = story_of(drawn, alarms)
    pace = pace_of(drawn, words)
    for _, group in itertools.groupby(range(len(words)), key=lambda place: words[place]["key"]):
        assert sum(pace[place] for place in group) >= READING
    assert isinstance(name, int) or 10_000 < sum(pace) < 40_000


def test_the_film_spends_its_time_where_things_happen() -> None:
    """A collapse that is over in half a second, after ten seconds in which nothing moved."""
    drawn = curve(*[0.9] * 10, 0.7, 0.5, *[0.5] * 10)
    pace = pace_of(drawn, story_of(drawn))
    assert sum(pace[9:12]) > sum(pace[:9]) + sum(pace[12:])


def test_the_state_has_a_plain_word_for_each_step() -> None:
    """A collapsed run called healthy, or a run without anomalies that is judged by them."""
    phases = [entry["phase"] for entry in story_of(curve(0.9, 0.95, 0.96, 0.92, 0.85, 0.6))]
    assert phases == ["unadapted", "better", "better", "past its best", "worse", "collapsed"]
    alarms = readings([event(0, 1.0, 0.9), event(1, 0.4, 0.9), event(2, 0.3, 0.8)])
    none = story_of(curve(None, None, None), alarms)
    assert [entry["phase"] for entry in none] == [HEALTHY, LOSING, SUFFERING]


def test_what_wavers_about_a_line_does_not_make_the_words_waver() -> None:
    """A state that changes with every measurement, because the AUROC moves by a thousandth."""
    wavering = story_of(curve(0.9, *[0.9 + 0.01 + 0.002 * (-1) ** step for step in range(20)]))
    states = [key for key, _ in itertools.groupby(entry["key"] for entry in wavering)]
    assert len(states) <= 3


def test_the_alarm_is_a_gauge() -> None:
    """A second verdict on screen that contradicts the first: the alarm shows what it measures, and its line."""
    drawn, alarms = told("break-digits-9")
    gauge = gauges_of(alarms)[0]
    assert gauge["name"] == "Neighbours kept" and len(gauge["shares"]) == len(gauge["told"]) == len(drawn.steps)
    for share, line, reading in zip(gauge["shares"], gauge["lines"], alarms, strict=True):
        assert share == pytest.approx(reading.structure.value, abs=1e-3) and line == reading.structure.line
    below = [place for place, reading in enumerate(alarms) if (reading.structure.value or 0) < reading.structure.line]
    assert gauge["fired"] == (below[0] if below else None)
    assert "alarm" not in story_of(drawn, alarms)[-1]
    assert gauges_of(readings([event(0, 1.0, None, 1e6)]))[1]["told"] == ["6.0, line 3.0"]
    assert gauges_of([]) == []


@pytest.mark.parametrize(("name", "chosen"), [("break-digits-9", False), ("ses-digits-9", True)])
def test_a_fixed_length_is_no_stop(name: str, chosen: bool) -> None:
    """A run that went on to its end under the words "stop chosen, without labels"."""
    folder = find_run(name)
    assert folder is not None
    assert (machine_data(LoadedRun(folder))["jumps"]["stop"] is not None) == chosen
