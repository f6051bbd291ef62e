"""Charts as data: fixed axes, step 0 a point of its own, nothing told by colour alone."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from panda_core.errors import UsageError
from panda_core.events import Evaluated
from panda_core.figures import (
    Curve,
    auroc_figure,
    chosen_figure,
    compare_figure,
    copies_figure,
    curve_of,
    distances_figure,
    fisher_figure,
    histogram_figure,
    kept_figure,
    moved_figure,
    normalised_figure,
    rank_figure,
    ratios_figure,
    spectrum_figure,
    strengths_figure,
)
from panda_core.figures.style import spread
from panda_core.methods.alarm import fired, readings

STEPS = (0, 10, 20)
COPIES = ((0, 0.8), (10, 0.9), (20, 0.7))  # step, AUROC of strange copies


def point(step: int, *, auroc: float | None = 0.9) -> Evaluated:
    return Evaluated(
        step=step,
        images_seen=step,
        auroc=auroc,
        auroc_low=None if auroc is None else auroc - 0.1,
        auroc_high=None if auroc is None else auroc + 0.05,
        center_auroc=auroc,
        spread=0.5 - step / 100,
        normal_ratio=1.1,
        anomalous_ratio=None if auroc is None else 3.0,
        effective_rank=40.0 - step,
        alarm="adapting",
        seconds=0.0,
    )


def curve(**fields: Any) -> Curve:
    return curve_of([point(step) for step in STEPS], last_step=40, **fields)


def spec(figure: Any) -> dict[str, Any]:
    return json.loads(figure.to_json())  # type: ignore[no-any-return]


@pytest.mark.parametrize("draw", [auroc_figure, ratios_figure, distances_figure, rank_figure])
def test_axes_are_fixed_and_step_0_stands_out(draw: Any) -> None:
    """Guards against an axis that grows with the curve and so hides a collapse."""
    full = spec(draw(curve()))
    for axis in ("xaxis", "yaxis"):
        assert full["layout"][axis]["autorange"] is False
    low, high = full["layout"]["xaxis"]["range"]
    assert low < 0 and high > 40  # the whole run, though only half of it is there
    for trace in full["data"]:
        if trace.get("mode") == "lines+markers":
            assert trace["x"] == list(STEPS)
            assert trace["marker"]["symbol"][0] == "diamond-open" != trace["marker"]["symbol"][1]
    assert "unadapted" in [note["text"] for note in full["layout"]["annotations"]]


@pytest.mark.parametrize("draw", [auroc_figure, ratios_figure, distances_figure, rank_figure])
def test_axes_do_not_move_while_the_curve_grows(draw: Any) -> None:
    """Guards against charts that jump when a point is added."""
    first = curve_of([point(0)], last_step=40)
    before, after = spec(draw(first))["layout"], spec(draw(curve()))["layout"]
    assert before["xaxis"]["range"] == after["xaxis"]["range"]
    assert before["yaxis"]["range"] == after["yaxis"]["range"]


@pytest.mark.parametrize("draw", [auroc_figure, ratios_figure, distances_figure, rank_figure])
def test_nothing_measured_yet(draw: Any) -> None:
    """Guards the first second of a run."""
    assert not [trace for trace in spec(draw(Curve(last_step=40)))["data"] if trace.get("x")]


@pytest.mark.parametrize("draw", [auroc_figure, ratios_figure, distances_figure, rank_figure])
def test_without_anomalies(draw: Any) -> None:
    """Guards undefined values: they are gaps, not zeros."""
    drawn = spec(draw(curve_of([point(step, auroc=None) for step in STEPS], last_step=40)))
    for trace in drawn["data"]:
        assert all(value is None or value > 0 for value in trace["y"])


@pytest.mark.parametrize("draw", [ratios_figure, distances_figure])
def test_lines_differ_in_more_than_colour(draw: Any) -> None:
    """Guards readers who see no colours."""
    lines = [trace for trace in spec(draw(curve()))["data"]]
    assert len({trace["line"]["dash"] for trace in lines}) == len(lines)
    assert len({trace["marker"]["symbol"][1] for trace in lines}) == len(lines)


def test_distances_are_ratio_times_spread() -> None:
    """Guards the left half of Figure 1, which the events give only as ratios."""
    by_name = {trace["name"]: trace["y"] for trace in spec(distances_figure(curve()))["data"]}
    assert by_name["training"] == pytest.approx([0.5, 0.4, 0.3])
    assert by_name["anomalous test"] == pytest.approx([1.5, 1.2, 0.9])
    assert by_name["normal test"] == pytest.approx([0.55, 0.44, 0.33])


def test_finished_run_marks_stop_and_oracle() -> None:
    """Guards the two marks: the oracle is named so, since labels chose it."""
    notes = spec(auroc_figure(curve(metrics={"stop_step": 20, "oracle_step": 10})))["layout"]["annotations"]
    at_steps = {note["text"]: note["x"] for note in notes if note.get("xref") != "paper"}
    assert at_steps == {"stop": 20, "oracle": 10, "unadapted": 0}


def test_lines_are_named_at_their_ends_and_no_name_covers_another() -> None:
    """Guards a reader who goes from a line to a legend and back; and ends that lie together, where names would too."""
    runs = [short_curve(f"run {name}, sample-wise stopping", (0.9, 0.8 + name / 1000)) for name in range(4)]
    runs[3] = short_curve("run 3, which still computes", (0.9,))
    for figure in (compare_figure(runs, "auroc"), compare_figure(runs, "ratio"), strengths_figure(runs, 1, "auroc")):
        notes = [note for note in figure.layout.annotations if note.xref == "paper"]
        named = [note.text.removeprefix("= ").replace("-<br>", "-").replace("<br>", " ") for note in notes]
        assert sorted(named) == [run.label for run in runs]
        tall = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
        heights = sorted((note.y * tall, 12 * (note.text.count("<br>") + 1)) for note in notes)
        assert all(b - a >= (one + two) / 2 for (a, one), (b, two) in itertools.pairwise(heights))
        assert len(figure.layout.shapes) == 4
        starts = sorted(shape.x0 for shape in figure.layout.shapes)
        assert starts[0] < 0.1 < 0.9 < starts[1]  # each where its line ends


def names_in(figure: go.Figure) -> list[str]:
    """Return what is written in a figure, without tags: notes, and texts at bars."""
    texts = [note.text for note in figure.layout.annotations]
    texts += [text for trace in figure.data for text in (trace.text if isinstance(trace.text, tuple) else ())]
    return [re.sub("<[^>]*>", " ", text) for text in texts]


def test_groups_of_bars_are_named_over_their_highest_and_no_name_covers_another() -> None:
    """A legend to go back and forth to; names of two groups that are the highest at one place."""
    scores, labels = np.r_[np.linspace(0, 9, 20), 4.0, 4.0, 4.1, 4.1], np.r_[np.tile([0, 1], 10), 0, 0, 1, 1]
    near = histogram_figure(scores, labels, threshold=4.0)
    apart = histogram_figure(np.r_[np.zeros(4), np.ones(16)], np.r_[np.zeros(4), np.ones(16)])
    chosen = chosen_figure([5, 10, 20], np.array([20, 20, 20, 20, 5]), np.array([0, 0, 1, 1, 1]))
    for figure, peaks in ((near, None), (apart, [0.0125, 0.9875]), (chosen, [2, 2])):
        named = [note for note in figure.layout.annotations if "■" in note.text]
        assert [text.split("(")[0].split()[-1] for text in names_in(figure)][: len(named)] == ["normal", "anomalous"]
        tall = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
        first, second = sorted(note.y * tall for note in named)
        assert peaks == [0.0125, 0.9875] or second - first > 17.99
        assert second + 9 <= tall
    low, high = apart.layout.xaxis.range
    assert [(note.x - low) / (high - low) for note in apart.layout.annotations] == pytest.approx([0.0125, 0.9875])
    assert [note.xanchor for note in apart.layout.annotations] == ["left", "right"]  # inwards, at the edges
    assert [note.x for note in chosen.layout.annotations] == [2, 2]


def test_what_tells_traces_apart_is_written_at_them() -> None:
    """Two bars a layer, or a ring on a curve, of which nothing says what they are."""
    moved = moved_figure(["a", "b", "c"], [0.02, None, 0.03], [0.01, 0.04, 0.035])
    assert [list(trace.text) for trace in moved.data] == [["", "this run", ""], ["", "", "strength 0"]]
    assert list(moved_figure(["a"], [None], [0.01]).data[0].text) == [""]
    assert "chosen" in names_in(normalised_figure([0, 5, 10], [1.0, 4.0, 2.0], 5, 10))


@pytest.mark.parametrize("seed", range(40))
def test_names_stay_in_order_apart_and_on_the_chart(seed: int) -> None:
    """Guards names that leave the chart, swap places, or move although nothing is near."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 9))
    wanted, sizes = rng.random(count) ** 3, rng.uniform(0.02, 0.1, count)
    places = np.array(spread(wanted.tolist(), sizes.tolist()))
    order = np.argsort(wanted, kind="stable")
    low, high = (places - sizes / 2)[order], (places + sizes / 2)[order]
    assert (low[1:] >= high[:-1] - 1e-9).all()
    assert not count or (low[0] >= -1e-9 and high[-1] <= 1 + 1e-9)
    alone = [i for i in range(count) if all(abs(wanted[i] - wanted[j]) > sizes.sum() for j in range(count) if j != i)]
    inside = [i for i in alone if sizes.sum() < wanted[i] < 1 - sizes.sum()]
    assert np.allclose(places[inside], wanted[inside])


def test_the_alarm_is_drawn_with_the_gauge_that_fires() -> None:
    """Guards a chart of the alarm that lacks what it fires by: strange copies, whose line follows their best."""
    told = [dataclasses.replace(point(step), neighbour_overlap=0.9, stand_in_auroc=value) for step, value in COPIES]
    alarm, at = readings(told), fired(told)
    assert at == 2
    copies, kept = copies_figure(alarm, 40, at), kept_figure(alarm, 40)
    assert list(copies.data[0].y) == [value for _, value in COPIES]
    assert list(copies.data[1].y) == pytest.approx([0.75, 0.85, 0.85])
    assert list(kept.data[0].y) == [90.0] * 3 and list(kept.data[1].y) == [50.0] * 3
    assert "alarm" in [note.text for note in copies.layout.annotations]
    assert "alarm" not in [note.text for note in kept.layout.annotations]


def test_what_whitening_gives_is_a_level_line_with_a_name() -> None:
    """Guards a line that is no line, without its number, off the chart, or beside a run that never measured it."""
    first = dataclasses.replace(point(0, auroc=0.8), whitened_auroc=0.45)
    figure = auroc_figure(curve_of([first, point(10)], last_step=40))
    (level,) = [trace for trace in figure.data if "whitened" in (trace.name or "")]
    assert list(level.y) == [0.45, 0.45] and list(level.x) == [0, 40]
    assert any("0.450" in text for text in names_in(figure)) and figure.layout.yaxis.range[0] < 0.45
    assert not any("whitened" in (trace.name or "") for trace in auroc_figure(curve()).data)


def test_compare_takes_four_runs_at_most() -> None:
    """Guards colours: each run has one of its own, the same in both charts."""
    curves = [
        curve_of([point(step, auroc=0.6 + 0.1 * place) for step in STEPS], last_step=40, label=name)
        for place, name in enumerate("abcd")
    ]
    charts = [spec(compare_figure(curves, what)) for what in ("auroc", "ratio")]
    colours = [[trace["line"]["color"] for trace in chart["data"]] for chart in charts]
    assert colours[0] == colours[1] and len(set(colours[0])) == 4
    assert len({trace["line"]["dash"] for trace in charts[0]["data"]}) == 4
    with pytest.raises(UsageError, match="At most 4"):
        compare_figure([*curves, curve(label="e")], "auroc")


def test_equal_curves_are_both_seen_and_named_as_equal() -> None:
    """A rival that is there and that nobody sees: a line drawn over another one."""
    other = curve_of([point(step, auroc=0.7) for step in STEPS], last_step=40, label="c")
    figure = compare_figure([curve(label="a"), curve(label="b"), other], "auroc")
    widths = [trace.line.width for trace in figure.data]
    assert widths[0] > 2 * widths[1] and widths[1] == widths[2]
    assert [trace.name for trace in figure.data] == ["a", "= b", "c"]


@pytest.mark.parametrize("threshold", [2.2, 3.4, 4.6, 6.0])
def test_no_name_lies_across_the_threshold(threshold: float) -> None:
    """The line drawn through "anomalous", where a detector is poor and both groups lie on one side of it."""
    rng = np.random.default_rng(0)
    scores, labels = np.r_[rng.normal(3, 0.2, 50), rng.normal(4, 0.2, 50), 0, 8], np.r_[np.zeros(50), np.ones(52)]
    for note in histogram_figure(scores, labels, threshold=threshold).layout.annotations:
        if "■" in note.text and abs(note.x - threshold) < 0.3 * 8:
            assert note.xanchor == ("right" if note.x < threshold else "left"), note.text


def test_histogram_shows_shares_and_threshold() -> None:
    """Guards the comparison of few normals with many anomalies."""
    scores, labels = np.r_[np.zeros(4), np.ones(16)], np.r_[np.zeros(4), np.ones(16)]
    drawn = spec(histogram_figure(scores, labels, threshold=0.5))
    heights = [np.sum(values(trace["y"])) for trace in drawn["data"]]
    assert heights == pytest.approx([100, 100])
    assert drawn["layout"]["barmode"] == "overlay"
    assert drawn["layout"]["shapes"][0]["x0"] == pytest.approx(0.5)
    assert drawn["data"][0]["marker"]["pattern"]["shape"] != drawn["data"][1]["marker"]["pattern"]["shape"]


@pytest.mark.parametrize("scores", [np.empty(0), np.ones(3)])
def test_histogram_of_nothing_and_of_equal_scores(scores: np.ndarray) -> None:
    """Guards a collapsed run, in which all scores are one."""
    low, high = spec(histogram_figure(scores, np.zeros(len(scores))))["layout"]["xaxis"]["range"]
    assert low < high


def test_spectrum_is_in_shares() -> None:
    """Guards against a scree plot whose scale shrinks with the features."""
    drawn = spec(spectrum_figure(np.array([3.0, 1.0]), np.array([30.0, 10.0])))
    assert [values(trace["y"]).tolist() for trace in drawn["data"]] == [[75.0, 25.0], [75.0, 25.0]]


def test_part_of_a_curve() -> None:
    """Guards the thinning of long films."""
    part = curve().at([0, 2])
    assert part.steps == (0, 20) and part.spread == pytest.approx((0.5, 0.3)) and part.last_step == 40


def values(stored: Any) -> np.ndarray:
    """Return a trace's numbers: a list, or the packed form in which arrays are written."""
    import base64

    if isinstance(stored, dict):
        return np.frombuffer(base64.b64decode(stored["bdata"]), np.dtype(stored["dtype"]))
    return np.array(stored)


def short_curve(label: str, auroc: tuple[float, ...]) -> Curve:
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
    figure = strengths_figure([short_curve("0", (0.9, 0.4)), short_curve("10", (0.9, 0.95))], 0, "auroc")
    assert [trace.name for trace in figure.data] == ["10", "0"]
    assert figure.layout.yaxis.range[0] <= 0.4
    figure = strengths_figure([short_curve("0", (0.9, 0.4)), short_curve("10", (0.9, 0.95))], 1, "ratio")
    assert list(figure.data[-1].y) == [1.5, 1.5] and figure.layout.yaxis.range[1] >= 1.5


def test_layers_are_in_percent_and_may_be_unknown() -> None:
    """Fractions under a percent sign; a run without Fisher information that breaks the page."""
    (bars,) = fisher_figure(["a", "b"], [0.25, None]).data
    assert list(bars.x) == [25.0, None]
    held, free = moved_figure(["a", "b"], [0.02, None], [0.01, 0.0]).data
    assert list(held.x) == [1.0, 0.0] and list(free.x) == [2.0, None]
    (alone,) = moved_figure(["a"], [None], [0.01]).data
    assert list(alone.x) == [1.0]
