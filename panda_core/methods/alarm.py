"""The label-free alarm: does adapting still help, has it settled, or do the features collapse?

A pretrained network knows which images resemble each other. Adapting moves all normal images towards one center; at
first their neighbourhoods survive, and in the end who is nearest to whom is chance. So the alarm asks of each of `n`
training images which third of the others is nearest to it, and how much of that is as it was at step 0:

    o_t = (share of the nearest third that is the same as at step 0 - 1/3) / (1 - 1/3)

1: nothing has changed, 0: no more in common than chance (`panda_core.runs.adapt.evaluate`). It needs neither
labels nor anomalies, and has no unit. Not in the paper. Share and threshold were chosen on five classes of CIFAR-10
at 128 px (airplane, automobile, bird, cat, deer); BENCHMARKS.md has the other five. At 64 px, where the unadapted
network is the best for most classes, the alarm comes too late. Tried besides: effective rank, spread, the distances
of held-out normal images, fewer neighbours, and the distances of images made strange by turning, cutting and mixing.
They told less: held-out images moved with the others, and strange images left even while anomalies were drawn in.
"""

from __future__ import annotations

from collections.abc import Sequence

from panda_core.events import Evaluated

ADAPTING, PLATEAU, COLLAPSING = "adapting", "healthy plateau", "collapsing"
KEPT = 0.5  # overlap below which the features are called collapsing
STILL = 0.01  # change of the overlap from one measurement to the next, below which nothing happens any more


def alarm(evaluated: Sequence[Evaluated]) -> str:
    """Return "adapting", "healthy plateau" or "collapsing" for all measurements so far, step 0 first.

    Collapsing: the overlap of neighbours with step 0 is below `KEPT`; once said, it is not taken back. Healthy plateau:
    it has fallen, and now changes by less than `STILL` between measurements. A measurement without an overlap (of an
    older version) says nothing.
    """
    overlaps = [event.neighbour_overlap for event in evaluated if event.neighbour_overlap is not None]
    if overlaps and min(overlaps) < KEPT:
        return COLLAPSING
    settled = len(overlaps) > 2 and overlaps[-1] < 1 - STILL and abs(overlaps[-1] - overlaps[-2]) < STILL
    return PLATEAU if settled else ADAPTING


def stopped_at(evaluated: Sequence[Evaluated]) -> int:
    """Return the index of the measurement at which the alarm fired, or of the last where it never did."""
    fired = (index for index, event in enumerate(evaluated) if event.alarm == COLLAPSING)
    return next(fired, len(evaluated) - 1)
