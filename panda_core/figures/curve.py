"""A run's curve, ready to be drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from panda_core.events import Evaluated

Numbers = tuple[float | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """What was measured at each evaluated step of one run, step 0 (unadapted) first; all tuples of one length.

    last_step: where the run ends, so that the axis does not move while it grows. spread: mean squared distance of
    the training features to the center; the ratios are those of the test images divided by it. neighbour_overlap is
    what the label-free alarm watches, missing in logs of older versions. whitened_auroc: what the whitened space gives
    without adapting, of a run that adapts in another one. stop_step and oracle_step: known once the run has finished;
    the oracle step was chosen with the test labels.
    """

    label: str = ""
    last_step: int = 1
    steps: tuple[int, ...] = ()
    auroc: Numbers = ()
    auroc_low: Numbers = ()
    auroc_high: Numbers = ()
    spread: tuple[float, ...] = ()
    normal_ratio: Numbers = ()
    anomalous_ratio: Numbers = ()
    effective_rank: tuple[float, ...] = ()
    neighbour_overlap: Numbers = ()
    whitened_auroc: float | None = None
    stop_step: float | None = None
    oracle_step: int | None = None

    def distances(self, ratio: Numbers) -> Numbers:
        """Return mean squared distances to the center: a ratio times the spread, where the ratio is defined."""
        return tuple(
            None if value is None else value * spread for value, spread in zip(ratio, self.spread, strict=True)
        )

    def at(self, places: Sequence[int]) -> Curve:
        """Return the curve at some of its points alone; `places` count from 0."""
        return dataclasses.replace(
            self,
            steps=tuple(self.steps[place] for place in places),
            auroc=tuple(self.auroc[place] for place in places),
            auroc_low=tuple(self.auroc_low[place] for place in places),
            auroc_high=tuple(self.auroc_high[place] for place in places),
            spread=tuple(self.spread[place] for place in places),
            normal_ratio=tuple(self.normal_ratio[place] for place in places),
            anomalous_ratio=tuple(self.anomalous_ratio[place] for place in places),
            effective_rank=tuple(self.effective_rank[place] for place in places),
            neighbour_overlap=tuple(self.neighbour_overlap[place] for place in places if self.neighbour_overlap),
        )


def curve_of(
    evaluated: Sequence[Evaluated],
    *,
    label: str = "",
    last_step: int | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Curve:
    """Return the curve of the `Evaluated` events of a run. metrics: those of `RunFinished`, if it has finished."""
    reached = evaluated[-1].step if evaluated else 1
    metrics = metrics or {}
    return Curve(
        label=label,
        last_step=max(1, reached, last_step or 0),
        steps=tuple(event.step for event in evaluated),
        auroc=tuple(event.auroc for event in evaluated),
        auroc_low=tuple(event.auroc_low for event in evaluated),
        auroc_high=tuple(event.auroc_high for event in evaluated),
        spread=tuple(event.spread for event in evaluated),
        normal_ratio=tuple(event.normal_ratio for event in evaluated),
        anomalous_ratio=tuple(event.anomalous_ratio for event in evaluated),
        effective_rank=tuple(event.effective_rank for event in evaluated),
        neighbour_overlap=tuple(event.neighbour_overlap for event in evaluated),
        whitened_auroc=evaluated[0].whitened_auroc if evaluated else None,
        stop_step=metrics.get("stop_step"),
        oracle_step=metrics.get("oracle_step"),
    )
