"""The story of a run in plain words: one state for each measurement, its caption, the alarm's gauge, and the pace.

The state is told with test labels where there are any, else by the alarm alone: never by both. Each caption claims
something of the numbers of its own step (`CLAIMS`). A state is entered at one value and left at another, so that a
number which wavers about a line does not make the words waver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from panda_core.figures import Curve
from panda_core.methods.alarm import ENDED, FALL, FOUND, HEALTHY, LOSING, SUFFERING, Gauge, Reading

UNADAPTED, BETTER, AS_BEFORE, FADING, WORSE, COLLAPSED = (
    "unadapted",
    "better",
    "as before",
    "past its best",
    "worse",
    "collapsed",
)
DRAWN_IN = "better, drawn in"  # a caption of its own; the state on screen is `BETTER`

CAPTIONS = {
    UNADAPTED: "The network as it was pretrained: nothing has been adapted yet.",
    BETTER: "Anomalies are told apart better than by the unadapted network.",
    DRAWN_IN: (
        "Anomalies are still told apart better than by the unadapted network, but they too are drawn towards the "
        "center: compared with training images they lie nearer to it than at the start."
    ),
    AS_BEFORE: "Anomalies are told apart about as well as by the unadapted network.",
    FADING: "Past its best: at an earlier step anomalies were told apart better than now.",
    WORSE: "Adapting has done harm: anomalies are told apart worse than by the unadapted network.",
    COLLAPSED: "Collapsed: more than half of what the unadapted network could tell apart is lost.",
    # where no anomalies are known, and the alarm alone can speak
    HEALTHY: "No anomalies are known here, and none of the alarm's gauges lies below its line.",
    LOSING: (
        "No anomalies are known here. Normal images have lost neighbours that they had at the start; that alone is no "
        "lost detection."
    ),
    SUFFERING: (
        "No anomalies are known here. Strange copies of normal images are told apart worse than at an earlier step: "
        "detection suffers."
    ),
    ENDED: (
        "No anomalies are known here. Normal images lie so close together that rounding decides which are alike: the "
        "numbers end."
    ),
}


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What captions speak of, at one step.

    best: the largest AUROC until then, this step's included.
    alarm: what it says; None where nothing was measured for it.
    """

    step: int
    auroc: float | None
    unadapted: float | None
    best: float
    ratio: float | None
    first_ratio: float | None
    alarm: Reading | None = None

    @property
    def gain(self) -> float:
        return (self.auroc or 0.0) - (self.unadapted or 0.0)

    @property
    def lost(self) -> float:
        """The share that is lost of what the unadapted network told apart better than by guessing."""
        could = (self.unadapted or 0.0) - 0.5
        return -self.gain / could if could > NOTHING else 0.0

    @property
    def nearer(self) -> float:
        """The share that is left of how much farther out than training images anomalies lay at the start."""
        if self.ratio is None or self.first_ratio is None or self.first_ratio <= 1:
            return 1.0
        return (self.ratio - 1) / (self.first_ratio - 1)


NOTHING = 0.05  # AUROC above guessing, of which nobody can say that it is lost
SAME = 0.02  # AUROC within which two networks are called alike: more than chance moves it here
# State -> (its measure, where it is entered, where it is left); the gravest that holds is told.
_STATES: tuple[tuple[str, Callable[[Numbers], float], float, float], ...] = (
    (COLLAPSED, lambda now: now.lost, 0.55, 0.5),
    (WORSE, lambda now: -now.gain, SAME, SAME / 2),
    (FADING, lambda now: now.best - (now.auroc or 0.0), SAME, SAME / 2),
    (BETTER, lambda now: now.gain, SAME / 2, SAME / 4),
)
# Caption -> whether what it says is so: what the captions of all steps are tested against.
CLAIMS: dict[str, Callable[[Numbers], bool]] = {
    UNADAPTED: lambda now: now.step == 0,
    BETTER: lambda now: now.gain > 0,
    DRAWN_IN: lambda now: now.gain > 0 and now.nearer < 1,
    AS_BEFORE: lambda now: abs(now.gain) <= SAME,
    FADING: lambda now: (now.auroc or 0.0) < now.best,
    WORSE: lambda now: now.gain < 0,
    COLLAPSED: lambda now: now.lost >= 0.5,
    HEALTHY: lambda now: now.auroc is None and (now.alarm is None or not _under(now.alarm)),
    LOSING: lambda now: now.auroc is None and now.alarm is not None and _below(now.alarm.structure, FOUND),
    SUFFERING: lambda now: now.auroc is None and now.alarm is not None and _below(now.alarm.detection, FALL),
    ENDED: lambda now: now.auroc is None and now.alarm is not None and _below(now.alarm.rounding),
}


def _below(gauge: Gauge, room: float = 0.0) -> bool:
    """Return whether a gauge lies below its line, or less than `room` above it."""
    return gauge.value is not None and gauge.value < gauge.line + room


def _under(alarm: Reading) -> list[Gauge]:
    """Return the gauges of the alarm that lie below their lines."""
    return [gauge for gauge in (alarm.structure, alarm.detection, alarm.rounding) if _below(gauge)]


def numbers_of(curve: Curve, alarms: Sequence[Reading] = ()) -> list[Numbers]:
    """Return what captions speak of, for each step of a curve. alarms: what the alarm says, without labels."""
    best, found = 0.0, []
    for index, step in enumerate(curve.steps):
        best = max(best, curve.auroc[index] or 0.0)
        ratios = curve.anomalous_ratio[index], curve.anomalous_ratio[0]
        alarm = alarms[index] if index < len(alarms) else None
        found.append(Numbers(step, curve.auroc[index], curve.auroc[0], best, *ratios, alarm))
    return found


def story_of(curve: Curve, alarms: Sequence[Reading] = ()) -> list[dict[str, str]]:
    """Return for each step of a curve its state, the key of its caption, and the caption."""
    words: list[dict[str, str]] = []
    state = caption = ""
    for now in numbers_of(curve, alarms):
        state = _state(now, state)
        drawn = state == BETTER and now.nearer < (1.0 if caption == DRAWN_IN else 0.7)
        caption = DRAWN_IN if drawn else state
        words.append({"phase": state, "key": caption, "caption": CAPTIONS[caption]})
    return words


def _state(now: Numbers, before: str) -> str:
    """Return the state at a step. before: that of the measurement before, which is kept longer than it is entered."""
    if now.auroc is None or now.unadapted is None:
        return HEALTHY if now.alarm is None else now.alarm.state
    if now.step == 0:
        return UNADAPTED
    for state, measure, enter, leave in _STATES:
        if measure(now) > (leave if state == before else enter):
            return state
    return AS_BEFORE


# What a gauge is called beside the film, and the values at the ends of its bar.
_GAUGES: tuple[tuple[str, str, float, float], ...] = (
    ("structure", "Neighbours kept", 0.0, 1.0),
    ("detection", "Strange copies told apart", 0.0, 1.0),
    ("rounding", "Digits left", 0.0, 7.0),
)


def gauges_of(alarms: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return the alarm's gauges that were measured: a name, what it measures, and at each step its value and line.

    `shares` and `lines` are places on a bar, in [0, 1]; `told` says both in words. fired: the first place below the
    line, or None. Rounding is shown as digits that are left: its decimal logarithm.
    """
    found = []
    for part, name, low, high in _GAUGES:
        gauges: list[Gauge] = [getattr(reading, part) for reading in alarms]
        if not any(gauge.value is not None for gauge in gauges):
            continue
        shown = [_read(part, gauge.value) for gauge in gauges]
        lines = [_read(part, gauge.line) or 0.0 for gauge in gauges]
        found.append(
            {
                "name": name,
                "measures": gauges[0].measures,
                "shares": [None if value is None else _place(value, low, high) for value in shown],
                "lines": [_place(line, low, high) for line in lines],
                "told": [_told(part, value, line) for value, line in zip(shown, lines, strict=True)],
                "fired": next((at for at, gauge in enumerate(gauges) if _below(gauge)), None),
            }
        )
    return found


def _place(value: float, low: float, high: float) -> float:
    return round((min(max(value, low), high) - low) / (high - low), 4)


def _read(part: str, value: float | None) -> float | None:
    """Return a value of a gauge in the unit in which people read it."""
    if value is None or part != "rounding":
        return value
    return float(np.log10(max(value, 1.0)))


def _told(part: str, value: float | None, line: float) -> str:
    if value is None:
        return "not measured"
    if part == "structure":
        return f"{100 * value:.0f} %, line {100 * line:.0f} %"
    return f"{value:.3f}, line {line:.3f}" if part == "detection" else f"{value:.1f}, line {line:.1f}"


SHORTEST = 250  # ms for which a measurement is on screen
HAPPENING = 12_000  # ms of a film, shared among its measurements by how much changes there
READING = 2_500  # ms for which a caption stays at least


def pace_of(curve: Curve, words: Sequence[dict[str, str]]) -> list[int]:
    """Return for how many milliseconds the film shows each measurement: longest where most happens.

    A caption stays long enough to be read: where it would not, its measurements are shown for longer.
    """
    measures = (curve.auroc, curve.effective_rank, _logs(curve.spread))
    happening: np.ndarray = np.sum([_changes(values) for values in measures], axis=0)
    shown = SHORTEST + HAPPENING * happening / max(float(happening.sum()), 1e-9)
    start = 0
    for end in range(1, len(shown) + 1):
        if end == len(shown) or words[end]["key"] != words[start]["key"]:
            shown[start:end] *= max(1.0, READING / float(shown[start:end].sum()))
            start = end
    return [int(np.ceil(value)) for value in shown]


def _changes(values: Sequence[float | None]) -> np.ndarray:
    """Return how much of a curve's whole way lies about each of its points, in all 1; 0 everywhere for a flat one."""
    known = np.array([np.nan if value is None else value for value in values], float)
    moved = np.nan_to_num(np.abs(np.diff(known)))
    about = np.convolve(moved, [0.5, 0.5]) if len(moved) else np.zeros(len(known))
    return about / total if (total := float(moved.sum())) > 0 else np.zeros(len(known))


def _logs(values: Sequence[float]) -> list[float]:
    """Return the logarithms of positive values; a spread of 0 counts as a millionth of the first."""
    least = 1e-6 * max(values[0] if values else 1.0, 1e-12)
    return [float(np.log(max(value, least))) for value in values]
