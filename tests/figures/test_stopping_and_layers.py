"""Charts of sample-wise stopping and of elastic weights, as data."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.figures import Curve, chosen_figure, fisher_figure, moved_figure, normalised_figure, strengths_figure


def curve(label: str, auroc: tuple[float, ...]) -> Curve:
    many = len(auroc)
    return Curve(
        label=label,
        last_step=10,
        steps=tuple(range(0, 10 * many, 10)),
        auroc=auroc,
        auroc_low=(None,) * many,
        anomalous_ratio=(1.5,) * many,
    )


def test_chosen_checkpoints_are_shares_of_each_kind() -> None:
    """A checkpoint that nobody chose and is therefore left out; ten anomalies that outweigh one normal image."""
    figure = chosen_figure([5, 10, 15], np.array([5, 15, 15, 15, 5]), np.array([0, 0, 1, 1, 1]))
    normal, anomalous = figure.data
    assert list(normal.x) == ["5", "10", "15"]
    assert list(normal.y) == [50.0, 0.0, 50.0]
    assert list(anomalous.y) == pytest.approx([100 / 3, 0.0, 200 / 3])


def test_one_kind_alone_is_drawn() -> None:
    """A division by the number of anomalies where there are none."""
    (normal,) = chosen_figure([5], np.array([5, 5]), np.zeros(2, int)).data
    assert list(normal.y) == [100.0]


def test_the_ring_lies_on_the_chosen_checkpoint() -> None:
    """A mark at the wrong step, or on the axis."""
    figure = normalised_figure([0, 5, 10], [1.0, 4.0, 2.0], 5, 10)
    ring = figure.data[-1]
    assert (list(ring.x), list(ring.y)) == ([5], [4.0])
    assert len(normalised_figure([0, 5], [1.0, 2.0], None, 5).data) == 1


def test_the_chosen_strength_is_in_front_and_all_are_there() -> None:
    """A slider that colours the wrong line; an axis too small for a curve that falls."""
    figure = strengths_figure([curve("0", (0.9, 0.4)), curve("10", (0.9, 0.95))], 0, "auroc")
    assert [trace.name for trace in figure.data] == ["10", "0"]
    assert figure.layout.yaxis.range[0] <= 0.4
    figure = strengths_figure([curve("0", (0.9, 0.4)), curve("10", (0.9, 0.95))], 1, "ratio")
    assert list(figure.data[-1].y) == [1.5, 1.5] and figure.layout.yaxis.range[1] >= 1.5


def test_layers_are_in_percent_and_may_be_unknown() -> None:
    """Fractions under a percent sign; a run without Fisher information that breaks the page."""
    (bars,) = fisher_figure(["a", "b"], [0.25, None]).data
    assert list(bars.x) == [25.0, None]
    held, free = moved_figure(["a", "b"], [0.02, None], [0.01, 0.0]).data
    assert list(held.x) == [1.0, 0.0] and list(free.x) == [2.0, None]
    (alone,) = moved_figure(["a"], [None], [0.01]).data
    assert list(alone.x) == [1.0]
