"""An AUROC below 0.5 is seen in every chart of AUROCs: its axis opens downwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core.figures import (
    Curve,
    Moment,
    auroc_figure,
    compare_figure,
    copies_figure,
    strengths_figure,
    time_machine,
)
from panda_core.methods.alarm import HEALTHY, Gauge, Reading

GOOD = Curve(
    label="good",
    last_step=20,
    steps=(0, 10, 20),
    auroc=(0.8, 0.9, 0.9),
    auroc_low=(0.7, 0.8, 0.8),
    auroc_high=(0.9, 1.0, 1.0),
    spread=(1.0, 1.0, 1.0),
    normal_ratio=(1.0, 1.0, 1.0),
    anomalous_ratio=(2.0, 2.0, 2.0),
    effective_rank=(9.0, 9.0, 9.0),
)


def low_curves(worst: float) -> list[Curve]:
    """Return curves with this AUROC: at one step, at the lower end of the interval of one, and as a level."""
    return [
        dataclasses.replace(GOOD, auroc=(0.8, worst, 0.9), auroc_low=(0.7, max(worst - 0.1, 0.0), 0.8)),
        dataclasses.replace(GOOD, auroc_low=(0.7, worst, 0.8)),
        dataclasses.replace(GOOD, whitened_auroc=worst),
    ]


def copies(curve: Curve) -> list[Reading]:
    """Return readings whose strange copies have the AUROC of a curve."""
    none = Gauge("", None, 0.0)
    return [
        Reading(step, HEALTHY, none, Gauge("", value, (value or 0) - 0.05), none)
        for step, value in zip(curve.steps, curve.auroc, strict=True)
    ]


@pytest.mark.parametrize("worst", [0.499, 0.31, 0.05, 0.0])
@pytest.mark.parametrize(
    "chart",
    [
        auroc_figure,
        lambda curve: compare_figure([GOOD, curve], "auroc"),
        lambda curve: strengths_figure([GOOD, curve], 0, "auroc"),
        lambda curve: copies_figure(copies(curve), 20, None),
    ],
    ids=["one run", "compared", "strengths", "strange copies"],
)
def test_an_auroc_worse_than_guessing_is_on_the_chart(chart: Callable[[Curve], Any], worst: float) -> None:
    """A curve, its interval or a level under 0.5 that lies below the axis, where nobody sees it."""
    for curve in low_curves(worst):
        figure = chart(curve)
        low, high = figure.layout.yaxis.range
        drawn = [value for trace in figure.data for value in trace.y if value is not None and value >= 0]
        assert low <= min(drawn) and max(drawn) <= high


@pytest.mark.parametrize("worst", [0.499, 0.31, 0.05, 0.0])
def test_an_auroc_worse_than_guessing_is_in_the_film(worst: float) -> None:
    """A curve of the film that runs flat along the lower edge, at which the browser holds what lies below it."""
    score = np.array([1.0, 2.0])
    cloud = np.zeros((2, 2))
    moment = Moment(cloud, cloud, score, score, score, 1.0, None, np.array([False, True]))
    for curve in low_curves(worst):
        data = time_machine(curve, [moment] * 3, np.array([0, 1]))
        shown = [*data["auroc"], *data["auroc_low"], *(level["value"] for level in data["levels"])]
        assert data["auroc_range"][0] <= min(shown) and max(shown) <= data["auroc_range"][1]
