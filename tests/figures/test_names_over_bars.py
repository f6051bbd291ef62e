"""Names that stand over bars in place of a legend: none lies on a bar of another group, or across the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.figures import chosen_figure, histogram_figure


@pytest.mark.parametrize("seed", range(20))
def test_a_name_of_grouped_bars_lies_on_none(seed: int) -> None:
    """ "normal" over the highest bar of anomalies, and "anomalous" written across one."""
    rng = np.random.default_rng(seed)
    steps = list(range(5, 100, 5))
    figure = chosen_figure(steps, rng.choice(steps[: int(rng.integers(1, 19))], 300), np.arange(300) % 10 > 0)
    highest = max(max(trace.y) for trace in figure.data) / figure.layout.yaxis.range[1]
    tall = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    low, high = sorted(note.y for note in figure.layout.annotations)
    assert (low - highest) * tall > 8 and (high - low) * tall > 16 and (1 - high) * tall > 8


@pytest.mark.parametrize("threshold", [1.0, 1.2, 1.6, 2.0])
def test_a_name_near_the_left_end_stands_beyond_the_threshold(threshold: float) -> None:
    """The line through "anomalous (270)", which has no room to be written to the left of its bar."""
    scores = np.r_[np.full(30, 0.7), np.full(240, 1.0), np.linspace(1, 13, 30)]
    figure = histogram_figure(scores, np.r_[np.zeros(30), np.ones(270)], threshold=threshold)
    low, high = figure.layout.xaxis.range
    for note in figure.layout.annotations:
        if "■" in note.text:
            left = note.x if note.xref == "x domain" else (note.x - low) / (high - low)
            line = (threshold - low) / (high - low)
            assert note.xanchor == "left" and not line - 0.07 < left < line - 1e-6


@pytest.mark.parametrize("seed", range(40))
def test_no_name_is_cut_on_a_phone(seed: int) -> None:
    """ "anomalous (7" at the end of a narrow chart."""
    rng = np.random.default_rng(seed)
    scores, count = np.r_[rng.normal(0, 1, 9), rng.normal(rng.uniform(1, 9), 1, 270)], 279
    labels = np.arange(count) >= 9
    drawn = histogram_figure(scores, labels, threshold=float(rng.uniform(0, 6)))
    low, high = drawn.layout.xaxis.range
    for note in drawn.layout.annotations:
        if "■" in note.text:
            at = 280 * (note.x if note.xref == "x domain" else (note.x - low) / (high - low))
            wide = 6 * len(note.text.partition("</span>")[2])
            left = at - {"left": 0, "center": wide / 2, "right": wide}[note.xanchor]
            assert left >= -30 and left + wide <= 290, note.text  # the margin at the left holds the upright axis
