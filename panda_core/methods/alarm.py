"""The label-free alarm: are neighbours being lost, does detection suffer, do the numbers themselves end?

Not in the paper. It asks three questions at each measurement, none of which needs a label or an anomaly:

Structure. A pretrained network knows which images resemble each other. Adapting moves all normal images towards one
center; at first their neighbourhoods survive, and in the end who is nearest to whom is chance. The neighbour overlap is
how much of each training image's nearest third is as at step 0: 1 all of it, 0 no more than chance. Lost structure is
no lost detection: normal digits fall to one point and lose all neighbours while other digits stand out ever more.

Detection. Copies of held-out normal images, made strange, stand in for anomalies: the AUROC of the images against their
own copies (`panda_core.runs.adapt.watched`). It falls under its best so far where the real one does. Its line was
chosen on two digits, solar cells and four classes of CIFAR-10, each at three rates and two cuts, with the labels of
their test images; BENCHMARKS.md judges it on others, and lists what told less: copies that are turned, in another
order, pasted, exaggerated or noisy, photographs of other things, the rank of the features, how held-out images lie.
Means of two images beside the copies looked better where that was chosen, and were no better on new runs.

Numbers. Features are of 7 digits. Where normal images lie within `ROUNDING` times the rounding error of one another,
distances soon are rounding alone, and a run ends.

All three may be taken back: a state that was entered is left only some way above the line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from panda_core.events import Evaluated

HEALTHY = "healthy"
LOSING = "structure is being lost"
SUFFERING = "detection suffers"
ENDED = "numbers end"
KEPT = 0.5  # neighbour overlap under which structure is being lost, and how far above it is found again
FOUND = 0.05
FALL = 0.05  # of the stand-in's AUROC under its best, under which detection suffers, and what of it is taken back
REGAINED = 0.02
ROUNDING = 1e3  # distance between normal images, in rounding errors, under which only rounding is left soon


@dataclasses.dataclass(frozen=True)
class Gauge:
    """One number that the alarm watches.

    measures: what it is, in words.
    value: None where it was not measured, as in logs of older versions.
    line: the alarm speaks where the value lies under it.
    """

    measures: str
    value: float | None
    line: float


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the alarm says at one step.

    state: `HEALTHY`, `LOSING`, `SUFFERING` or `ENDED`; of several that hold, the last of these.
    structure, detection, rounding: the three gauges.
    """

    step: int
    state: str
    structure: Gauge
    detection: Gauge
    rounding: Gauge


def readings(evaluated: Sequence[Evaluated]) -> list[Reading]:
    """Return what the alarm says at each measurement of a run, step 0 first, from what was known until then."""
    found: list[Reading] = []
    losing, suffering, best = False, False, 0.0
    for event in evaluated:
        best = max(best, event.stand_in_auroc or 0.0)
        structure = Gauge("neighbours that are left of step 0", event.neighbour_overlap, KEPT)
        detection = Gauge("AUROC of held-out normal images against strange copies", event.stand_in_auroc, best - FALL)
        rounding = Gauge("distance of normal images in rounding errors", event.rounding_margin, ROUNDING)
        losing = _below(structure, FOUND if losing else 0.0)
        suffering = _below(detection, REGAINED if suffering else 0.0)
        state = SUFFERING if suffering else LOSING if losing else HEALTHY
        found.append(Reading(event.step, ENDED if _below(rounding) else state, structure, detection, rounding))
    return found


def fired(evaluated: Sequence[Evaluated]) -> int | None:
    """Return the index of the first measurement at which detection suffered; None where it never did."""
    states = (reading.state for reading in readings(evaluated))
    return next((index for index, state in enumerate(states) if state == SUFFERING), None)


def told_best(evaluated: Sequence[Evaluated]) -> int:
    """Return the index of the measurement, before any alarm, at which strange copies were told best.

    The first of several; the last of all where they were never measured.
    """
    before = evaluated[: fired(evaluated)]
    known = [(event.stand_in_auroc, -index) for index, event in enumerate(before) if event.stand_in_auroc is not None]
    return -max(known)[1] if known else len(before) - 1


def _below(gauge: Gauge, room: float = 0.0) -> bool:
    """Return whether a gauge has been measured and lies under its line, or less than `room` above it."""
    return gauge.value is not None and gauge.value < gauge.line + room
