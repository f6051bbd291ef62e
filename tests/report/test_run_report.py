"""The report of a run: one file, whole, readable without a network, and safe whatever names it has to show."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from panda_core import RunConfig, load_run
from panda_core.cli import main
from panda_core.errors import BrokenRun
from panda_core.events import RunStarted
from panda_core.records import write_json
from panda_core.report.page import document, element, picture, table
from panda_core.report.run_report import report_of
from panda_core.runs.folder import RunFolder

NASTY = '<img src=x onerror=alert(1)>"&'


def own_part(shown: str) -> str:
    """Return a page without the chart library, which is not ours to check."""
    assert get_plotlyjs() in shown
    return shown.replace(get_plotlyjs(), "")


@pytest.fixture(scope="module")
def shown(digits_run: Path) -> str:
    return report_of(load_run(digits_run))


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished segmentation run on digits with drawn defects."""
    from panda_core import run

    config = RunConfig(
        dataset="synthetic:digits",
        normal_class="3",
        recipe="patchcore",
        image_size=32,
        train_limit=12,
        test_limit=12,
        runs_dir=str(tmp_path_factory.mktemp("runs")),
        device="cpu",
    )
    (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
    return Path(config.runs_dir) / run_id


def test_the_page_holds_everything(shown: str, digits_run: Path) -> None:
    """A report without its curves, images, settings, versions or the command that makes it again."""
    run = load_run(digits_run)
    assert shown.count("Plotly.newPlot(") - get_plotlyjs().count("Plotly.newPlot(") == 5
    assert own_part(shown).count("data:image/png;base64,") >= 16
    for text in (run.config.to_command(), run.config.to_python(), "efficientnet_lite0", "scikit-learn", run.run_id):
        assert html.escape(text) in shown
    assert f"{100 * (run.metrics or {})['auroc']:.1f} %" in shown


def test_the_page_asks_no_network_for_anything(shown: str) -> None:
    """A page that is blank on a machine without a network, or tells another machine that it was opened."""
    own = own_part(shown)
    assert not re.search(r"""(src|href)=["']?(?!data:)\w""", own)
    assert "url(" not in own and "@import" not in own
    assert "default-src 'none'" in own


def test_images_come_in_the_order_of_their_scores(shown: str, digits_run: Path) -> None:
    """The least anomalous images under the heading of the most anomalous ones."""
    run = load_run(digits_run)
    scores, names = run.final().scores, run.split.test
    part = own_part(shown).split("<h3>Most anomalous</h3>")[1].split("<h3>")[0]
    listed = re.findall(r'alt="([^,]+), ', part)
    assert listed == [names[row] for row in np.argsort(scores)[::-1][:8]]


def test_names_stay_text(own_run: Path) -> None:
    """A run's name, an image's name or a reason that runs as a script in the reader's browser."""
    folder = RunFolder(own_run)
    folder.write_config(folder.config().replace(name=NASTY))
    folder.write_state("finished", NASTY)
    lines = (own_run / "events.jsonl").read_text()
    skipped = {"event": "ImagesSkipped", "time": 0.0, "split": "test", "count": 1, "names": [NASTY], "reasons": [NASTY]}
    (own_run / "events.jsonl").write_text(lines + json.dumps(skipped) + "\n")
    shown = own_part(report_of(load_run(own_run)))
    assert NASTY not in shown and "<img src=x" not in shown
    assert shown.count(html.escape(NASTY)) >= 4


def test_without_the_data_there_are_no_images_but_all_else(own_run: Path) -> None:
    """A report that cannot be made because a folder of images has been moved."""
    folder = RunFolder(own_run)
    folder.write_config(folder.config().replace(dataset="folder:/nowhere/at/all"))
    shown = own_part(report_of(load_run(own_run)))
    assert "data:image" not in shown and "/nowhere/at/all" in shown
    assert shown.count("Plotly.newPlot(") == 5


def test_an_unfinished_run_says_so(own_run: Path, digits_run: Path) -> None:
    """A report of half a run that reads like one of a whole; one of nothing."""
    lines = (own_run / "events.jsonl").read_text().splitlines()
    (own_run / "events.jsonl").write_text("\n".join(line for line in lines if "RunFinished" not in line) + "\n")
    assert "has not finished" in report_of(load_run(own_run))
    (own_run / "events.jsonl").unlink()
    with pytest.raises(BrokenRun, match="no result yet"):
        report_of(load_run(own_run))


def test_a_segmentation_run_shows_its_maps(spotted: Path, tmp_path: Path) -> None:
    """A report of maps that shows plain images, or no figures for each kind of defect."""
    run = load_run(spotted)
    shown = own_part(report_of(run))
    for kind in (run.metrics or {})["kinds"]:
        assert f"<td>{kind}</td>" in shown or f">{kind}</td>" in shown
    copy = Path(shutil.copytree(spotted, tmp_path / spotted.name))
    arrays = dict(np.load(next((copy / "maps").glob("*.npz"))))
    arrays["grids"] = np.zeros_like(arrays["grids"])
    np.savez(next((copy / "maps").glob("*.npz")), **arrays)
    first = re.findall(r"data:image/png;base64,[^\"]+", shown)
    other = re.findall(r"data:image/png;base64,[^\"]+", own_part(report_of(load_run(copy))))
    assert len(first) == len(other) and first != other


def test_parts_of_a_page_escape_what_they_are_given() -> None:
    """A table, a heading or an attribute through which text becomes HTML."""
    image = np.zeros((4, 9, 3), np.uint8)
    parts = [
        element("p", NASTY, title=NASTY),
        table([NASTY], [[NASTY]]),
        picture(image, NASTY, about=NASTY, kind="normal"),
    ]
    page = document(NASTY, *parts)
    assert NASTY not in "".join(parts) and NASTY not in page
    assert get_plotlyjs() not in page  # no chart, no library


def test_command_line(digits_run: Path, tmp_path: Path, capsys: Any) -> None:
    """A command that says it wrote a file and did not, or that overwrites a run with a page."""
    target = tmp_path / "new folder" / "report.html"
    assert main(["report", str(digits_run), "-o", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == target.stat().st_size > 3_000_000
    assert main(["report", str(digits_run), "-o", str(tmp_path / "config.json")]) == 2
    assert main(["report", "no-such-run", "-o", str(target)]) == 2


def test_a_broken_run_is_one_sentence(own_run: Path, tmp_path: Path, capsys: Any) -> None:
    """A traceback instead of the name of the damaged file."""
    write_json(own_run / "split.json", {})
    (own_run / "arrays" / "final.npz").write_bytes(b"nothing")
    assert main(["report", str(own_run), "-o", str(tmp_path / "r.html")]) == 1
    assert "final.npz" in capsys.readouterr().err and not (tmp_path / "r.html").exists()


def test_what_was_measured_at_the_end_is_in_it(own_run: Path) -> None:
    """Accuracies of heads, or a result that labels chose, which only the log of the run shows."""
    lines = (own_run / "events.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert "How often each head" not in report_of(load_run(own_run))
    last["metrics"] |= {"normal_turn_accuracy": 0.941, "anomalous_turn_accuracy": 0.517, "oracle_grid_auroc": 0.6472}
    (own_run / "events.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    shown = own_part(report_of(load_run(own_run)))
    assert re.search(r"turn</td>.*94\.1 %.*51\.7 %", shown, re.S)
    assert re.search(r"64\.7 %</b>best AUROC of the grid, chosen with labels", shown)
