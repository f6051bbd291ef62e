"""Means, intervals and tables: against hand-worked values, and against what people write into names."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from typing import Any

import pytest
from plotly.offline import get_plotlyjs

from panda_core.bench.figure import described, means_figure
from panda_core.bench.grid import load_grid
from panda_core.bench.published import published_for
from panda_core.bench.summary import Outcome, Reader, Results, data_form, mean_interval
from panda_core.bench.writing import FILES, cells_csv, charts_of, class_tables, lines_csv, markdown, page, write_results
from panda_core.runs.folder import RunFolder
from tests.bench.conftest import finish

NASTY = "<script>alert(1)</script> | =1+1"


def outcome(name: str, seed: int, value: float | None, half: float | None = None) -> Outcome:
    low, high = (None, None) if half is None or value is None else (value - half, value + half)
    return Outcome("", name, seed, "finished", "", value, low, high)


def test_classes_weigh_the_same_whatever_their_number_of_seeds() -> None:
    """A mean over cells, in which a class with more finished seeds counts more."""
    mean, low, high = mean_interval([outcome("a", 0, 0.8), outcome("a", 1, 0.8), outcome("b", 0, 0.4)])
    assert mean == pytest.approx(0.6)
    assert low == high == pytest.approx(0.6)  # two equal seeds of one class, nothing known of the images


def test_interval_of_images_worked_by_hand() -> None:
    """Two classes whose errors of 0.1 each are added, instead of their squares: sqrt(0.01 + 0.01) / 2."""
    mean, low, high = mean_interval([outcome("a", 0, 0.7, 0.1), outcome("b", 0, 0.5, 0.1)])
    assert (mean, low, high) == pytest.approx((0.6, 0.6 - 0.1 / 2**0.5, 0.6 + 0.1 / 2**0.5))


def test_interval_of_seeds_worked_by_hand() -> None:
    """The spread of seeds taken for the error of their mean, or divided by n instead of n - 1."""
    mean, low, high = mean_interval([outcome("a", 0, 0.6), outcome("a", 1, 0.7), outcome("a", 2, 0.8)])
    assert mean == pytest.approx(0.7)
    assert high - mean == pytest.approx(1.959964 * 0.1 / 3**0.5) == mean - low


def test_more_seeds_do_not_make_the_test_images_certain() -> None:
    """Twenty seeds on one test set that are taken for twenty test sets."""
    one = mean_interval([outcome("a", 0, 0.7, 0.1)])
    many = mean_interval([outcome("a", seed, 0.7, 0.1) for seed in range(20)])
    assert one == pytest.approx(many)


def test_interval_stays_among_shares_and_may_be_unknown() -> None:
    """An interval beyond 100 %, or one made of nothing."""
    assert mean_interval([outcome("a", 0, 0.99, 0.1)])[2] == 1.0
    assert mean_interval([outcome("a", 0, 0.9)]) == (0.9, None, None)
    assert mean_interval([outcome("a", 0, None)]) == (None, None, None)


@pytest.mark.parametrize(
    ("names", "form"),
    [
        (["x/1.jpg", "x/2.JPG"], "jpg files, 2 + 2 images"),
        (["digit-3/0001", "digit-3/0002"], "pixel arrays, 2 + 2 images"),
        (["x/1.png", "x/2.jpg"], "jpg files and png files, 2 + 2 images"),
    ],
)
def test_form_of_the_data(names: list[str], form: str) -> None:
    """Images that somebody encoded anew beside a figure that was measured on the originals, unsaid."""
    assert data_form(names, names) == form


def started(make_plan: Any, rows: list[dict[str, Any]], aurocs: list[float | None], **settings: Any) -> Results:
    """Return the results of a grid whose cells have these values; None: not computed yet."""
    plan, folder = make_plan(rows, **settings)
    folder.write_plan(plan)
    for cell, auroc in zip(plan.cells.values(), aurocs, strict=True):
        if auroc is not None:
            run = RunFolder(folder.path / cell.id)
            run.path.mkdir()
            run.write_config(cell.config)
            finish(run, auroc, other=auroc / 2)
    results = Reader(folder).results()
    write_results(folder, results)
    assert all((folder.path / name).stat().st_size for name in FILES)
    assert Results.from_json(json.loads((folder.path / "results.json").read_text())) == results
    return results


def test_a_table_says_what_was_measured_and_how(make_plan: Any) -> None:
    """A figure without the data, the network, the limits, the steps or the seeds it belongs to."""
    rows = [{"name": "early"}, {"name": "other", "metric": "other"}, {"name": "none", "metric": "nothing"}]
    results = started(make_plan, rows, [0.8, 0.9])
    early, other, none = results.lines
    assert early.mean == pytest.approx(0.85) and other.mean == pytest.approx(0.425) and none.mean is None
    assert "has no `nothing`; it has auroc" in none.outcomes[0].reason
    (line, *_) = [line for line in markdown(results).splitlines() if line.startswith("| early")]
    for word in ("85.0", "pixel arrays, 2 + 3 images", "efficientnet_lite0", "32 px", "train 24", "test 40", "steps 4"):
        assert word in line
    assert "seeds 0" in line and "2 of 2" in line
    written = list(csv.DictReader(io.StringIO(lines_csv(results))))
    assert float(written[0]["mean"]) == pytest.approx(0.85) and written[0]["train_limit"] == "24"
    cells = list(csv.DictReader(io.StringIO(cells_csv(results))))
    assert [cell["normal_class"] for cell in cells[:2]] == ["3", "8"] and cells[0]["state"] == "finished"


def test_an_unfinished_line_has_no_difference(make_plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the classes compared with the paper's mean over all of them."""
    from panda_core.bench.published import Published

    beside = Published(0.95, "a paper", comparable=True)
    monkeypatch.setattr("panda_core.bench.summary.published_for", lambda *_, **__: beside)
    rows = [{"name": "early", "published": "table1/frozen"}]
    half = started(make_plan, rows, [0.8, None]).lines[0]
    assert (half.mean, half.published, half.difference, half.finished) == (0.8, 0.95, None, 1)
    whole = started(make_plan, rows, [0.8, 0.9], seeds=[5]).lines[0]
    assert whole.difference == pytest.approx(-0.1) and whole.source == "a paper"


def test_names_stay_text_everywhere(make_plan: Any) -> None:
    """A row's name that runs as a script in the page, breaks the Markdown table, or is a formula in a spreadsheet."""
    results = started(make_plan, [{"name": NASTY}, {"name": "=cmd", "steps": 2}], [0.8, 0.9, 0.7, 0.6])
    shown = page(results)
    assert "<script>alert" not in shown and "&lt;script&gt;alert(1)" in shown
    table = [line for line in markdown(results).splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table[:4]}) == 1 and "<script" not in "".join(table)
    assert "'=cmd" in lines_csv(results)
    figure = means_figure(results.lines)
    assert "<script>" not in str(figure.data[0].y) and "alert" in described(results.lines)


def test_the_page_needs_no_network(make_plan: Any) -> None:
    """A page that fetches its chart library, or is blank without it."""
    shown = page(started(make_plan, [{"name": "early"}], [0.8, 0.9]))
    assert "Plotly.newPlot" in shown and len(shown) > 3_000_000
    own = shown.replace(get_plotlyjs(), "")
    assert len(own) < 100_000 and not re.search(r"https?:", own)
    assert "default-src 'none'" in shown


def test_accuracies_have_a_chart_and_names_of_their_own(make_plan: Any) -> None:
    """Two measures of one row under one name in a chart, or shares of right answers beside AUROCs as if comparable."""
    rows = [
        {"name": "early"},
        {"name": "early", "metric": "normal_turn_accuracy"},
        {"name": "other", "metric": "other"},
    ]
    results = started(make_plan, rows, [0.8, 0.9])
    assert [line.label for line in results.lines] == ["early", "early, normal turn accuracy", "other, other"]
    assert [title for title, _ in charts_of(results)] == ["digits"], "nothing was told of turns"
    told = dataclasses.replace(results.lines[1], mean=0.5)
    results = dataclasses.replace(results, lines=(results.lines[0], told, results.lines[2]))
    charts = charts_of(results)
    assert [(title, [line.label for line in lines]) for title, lines in charts] == [
        ("digits", ["early", "other, other"]),
        ("digits, accuracy of the heads", ["early, normal turn accuracy"]),
    ]
    (_, columns, _) = class_tables(results)[0]
    assert len(set(columns)) == len(columns)


def test_table_3_stands_beside_the_published_accuracies() -> None:
    """A row of the paper's Table 3 that has no figure, or that of the other network."""
    rows = {(row.name, row.metric): row for row in load_grid("mhrot").rows if row.metric.endswith("_accuracy")}
    found = {
        key: published_for(row.published, row.metric, "cifar10", [], whole=True).value  # type: ignore[union-attr]
        for key, row in rows.items()
    }
    assert len(found) == 12
    assert found["from scratch", "normal_vertical_accuracy"] == pytest.approx(0.914)
    assert found["from scratch", "anomalous_rotation_accuracy"] == pytest.approx(0.516)
    assert found["pretrained", "anomalous_horizontal_accuracy"] == pytest.approx(0.714)
    assert found["pretrained", "normal_rotation_accuracy"] == pytest.approx(0.923)
