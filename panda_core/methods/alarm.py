"""The label-free alarm: does the adaptation still help, or do the features collapse?

Collapse is a loss of directions: all features end on a line or a point. The effective rank of the normal training
features counts the directions in use; it needs no label and no anomaly. The alarm compares it with its value before
the adaptation. A rule of thumb: it tells that directions are being lost, not that the AUROC has peaked.
"""

from __future__ import annotations

from collections.abc import Sequence

KEPT_AT_ALARM = 0.5  # share of the initial effective rank below which the features are called collapsing


def alarm(effective_ranks: Sequence[float]) -> str:
    """Return "adapting" or "collapsing" for the effective ranks of all evaluations so far, step 0 first."""
    return "collapsing" if effective_ranks[-1] < KEPT_AT_ALARM * effective_ranks[0] else "adapting"
