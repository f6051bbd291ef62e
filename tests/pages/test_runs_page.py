"""The Runs page: the table, comparisons, and what is done with one run."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pages.shared.frame import wording
from pages.shared.runs.choice import find_run
from pages.shared.runs.table import differing_settings, row_of
from tests.pages.conftest import as_downloaded


def test_table_lists_runs_and_recorded_ones(open_page: Any, make_run: Any) -> None:
    """Guards the columns and their rounding."""
    make_run(name="mine")
    at = open_page("runs")
    frame = at.dataframe[0].value
    assert frame["Name"][0].startswith("mine (")
    assert frame["AUROC"][0] == "0.712"
    assert frame["State"][0] == "finished"
    assert set(frame["State"][1:]) == {"recorded"}


def test_runs_of_the_same_second_are_told_apart(open_page: Any, runs_dir: Path, make_run: Any) -> None:
    """Two lines that read the same, and the later of two runs below the earlier, by the name of its recipe."""
    started = [make_run(name="mine", recipe=recipe) for recipe in ("panda-ses", "panda-ewc", "panda-ses")]
    names = list(open_page("runs").dataframe[0].value["Name"])[:3]
    assert names == [f"mine ({run.run_id[-4:]})" for run in reversed(started)]
    choice = open_page("examine").selectbox[0]
    assert len(set(choice.options)) == len(choice.options) and [option[:11] for option in choice.options[:3]] == [
        name[:11] for name in names
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"steps": "many"}', '{"unknown": 1}'])
def test_a_broken_run_is_listed_with_the_reason(content: str, open_page: Any, make_run: Any, runs_dir: Path) -> None:
    """Guards the page against one bad folder among good ones."""
    make_run()
    broken = runs_dir / "20260101-000000-broken-00000000"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text(content)
    at = open_page("runs")
    assert len(at.warning) == 1
    assert len(at.dataframe[0].value) >= 1
    at.button(key=f"delete-{broken.name}").click().run()
    assert not at.exception and not broken.exists() and not at.warning


def test_a_damaged_log_is_a_broken_run(open_page: Any, make_run: Any) -> None:
    """Guards against half a log line that is no JSON."""
    folder = make_run()
    (folder.path / "events.jsonl").write_text("not json\n")
    assert len(open_page("runs").warning) == 1


def test_compare_shows_what_differs_alone(open_page: Any, make_run: Any) -> None:
    """Guards the comparison: one line for each run, and no setting that they share."""
    make_run(lr=0.1, set={"k": 2})
    make_run(lr=0.3, set={"k": 5})
    at = open_page("runs")
    assert len(at.multiselect(key="compare").value) == 2
    specs = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    assert [len(spec["data"]) for spec in specs] == [2, 2]
    differing = at.dataframe[1].value
    assert list(differing["Setting"]) == ["Learning rate", "K"]
    assert {tuple(sorted(row[1:])) for row in differing.values.tolist()} == {("0.1", "0.3"), ("2", "5")}


def test_settings_that_differ_in_the_last_digit_are_not_shown_as_equal(make_run: Any) -> None:
    """Guards against a line of the comparison that has the same value twice."""
    rows = [row_of(make_run(lr=lr)) for lr in (0.1231, 0.1232)]
    (line,) = differing_settings(rows)
    assert [value for name, value in line.items() if name != "Setting"] == ["0.1231", "0.1232"]


def test_what_an_older_version_did_not_write_down_is_no_difference() -> None:
    """A line of the comparison with nothing in it: `–` for one run, and an empty field for the other."""
    rows = [row_of(folder) for name in ("ses-digits-9", "ses-cifar10-ship") if (folder := find_run(name))]
    assert len(rows) == 2 and "precision" in rows[1].config.set and "precision" not in rows[0].config.set
    named = {line["Setting"]: line for line in differing_settings(rows)}
    assert "Data set" in named and not {"Precision", "Weights"} & named.keys()


@pytest.mark.parametrize(
    ("value", "words"),
    [(2.5e-06, "2.5 × 10⁻⁶"), (1e30, "1 × 10³⁰"), (0.0123, "0.0123"), (17.24, "17.2"), (None, "–"), (0.0, "0")],
)
def test_numbers_are_written_as_people_write_them(value: float | None, words: str) -> None:
    """Guards against 2.5e-06 below a picture."""
    assert wording.amount(value) == words


def test_what_is_renamed_is_what_is_deleted_next(open_page: Any, make_run: Any) -> None:
    """A list that goes back to its first run once a name in it changes: *Delete* then aims at a run nobody chose."""
    older, newer = make_run(name="older"), make_run(name="newer")
    at = open_page("runs")
    at.selectbox(key="chosen_run").set_value(older.run_id).run()
    at.text_input(key=f"name-{older.run_id}").set_value("My run")
    at.button(key=f"rename-{older.run_id}").click().run()
    assert older.config().name == "My run"
    assert at.selectbox(key="chosen_run").value == older.run_id
    assert any("removes **My run" in element.value for element in at.markdown)
    at.button(key=f"delete-{older.run_id}").click().run()
    assert not at.exception and not older.path.exists() and newer.path.exists()
    assert at.selectbox(key="chosen_run").value == newer.run_id
    assert any("Deleted **My run" in info.value for info in at.info)
    at.button(key="undo").click().run()
    assert not at.exception and older.config().name == "My run" and not any("Deleted" in info.value for info in at.info)
    assert at.selectbox(key="chosen_run").value == older.run_id


def test_a_comparison_survives_a_new_name(open_page: Any, make_run: Any) -> None:
    """An address, or a choice, that holds the names of runs and not their ids."""
    first, second, third = make_run(name="a"), make_run(name="b"), make_run(name="c")
    at = open_page("runs", compare=f"{first.run_id},{third.run_id},no-run")
    assert at.multiselect(key="compare").value == [first.run_id, third.run_id]
    at.multiselect(key="compare").set_value([first.run_id, second.run_id]).run()
    address = at.query_params["compare"]
    first.write_config(first.config().replace(name="another name"))
    assert at.run().multiselect(key="compare").value == [first.run_id, second.run_id]
    at = open_page("runs", compare=address)
    assert at.multiselect(key="compare").value == [first.run_id, second.run_id]


def test_a_computing_run_is_not_deleted(open_page: Any, make_run: Any) -> None:
    """Guards the files of a run that is being written."""
    folder = make_run("running")
    with folder.lock():
        at = open_page("runs")
        at.button(key=f"delete-{folder.run_id}").click().run()
        assert folder.path.exists()
        assert any("being computed" in error.value for error in at.error)


def test_archive_leaves_the_weights_out(make_run: Any) -> None:
    """Guards the size of a download, and its content: one folder, named like the run."""
    from pages.shared.runs.downloads import zipped

    folder = make_run()
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "000000.safetensors").write_bytes(b"0" * 1000)
    with zipped(folder) as file, zipfile.ZipFile(io.BytesIO(as_downloaded(file))) as archive:
        names = archive.namelist()
    assert f"{folder.run_id}/events.jsonl" in names and f"{folder.run_id}/arrays/final.npz" in names
    assert not any("checkpoints" in name for name in names)


def test_recorded_runs_cannot_be_changed(open_page: Any) -> None:
    """Guards what comes with the program."""
    at = open_page("runs")
    assert not [button for button in at.button if str(button.key).startswith(("delete", "rename"))]


def test_without_a_cache_recorded_runs_can_be_looked_at(
    open_page: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An app that shows nothing at all where its cache is on a full disk, or belongs to somebody else."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PANDA_CACHE_DIR", str(tmp_path / "file"))
    frame = open_page("runs").dataframe[0].value
    assert len(frame) >= 15 and set(frame["State"]) == {"recorded"}


def test_a_damaged_recorded_run_is_one_sentence(
    open_page: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A traceback on every page, for one file of the program that was cut off on its way."""
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "broken.zip").write_bytes(b"PK")
    monkeypatch.setattr("pages.shared.runs.choice.RECORDED", tmp_path / "recorded")
    (shown,) = open_page("runs").error
    assert "broken.zip` is damaged" in shown.value and "Get this file of the program again." in shown.value


def test_recorded_runs_read_like_any_run() -> None:
    """Guards the bundled recording: it improves, collapses, and holds no place of the machine that made it."""
    from pages.shared.runs.choice import RECORDED, recorded_runs
    from panda_core.runs.folder import list_runs
    from panda_core.runs.loaded import LoadedRun

    folders = list_runs(recorded_runs())
    assert len(folders) == len(list(RECORDED.iterdir())) >= 15
    (broken,) = [folder for folder in folders if folder.run_id == "break-cifar10-ship"]
    run = LoadedRun(broken)
    values = [event.auroc for event in run.evaluated]
    ratios = [event.anomalous_ratio for event in run.evaluated]
    assert len(values) >= 15 and run.evaluated[0].step == 0
    assert max(values) > values[0] + 0.02
    assert values[-1] < max(values) - 0.09
    assert ratios[-1] < 0.85 * max(ratios)
    (digits,) = [
        LoadedRun(folder) for folder in folders if folder.run_id == "break-digits-9"
    ]  # its data are always here
    assert digits.images("test").names[0] == digits.split.test[0]
    assert sum(path.stat().st_size for path in RECORDED.iterdir()) < 8_000_000
    for path in recorded_runs().rglob("*.json*"):
        text = path.read_text(encoding="utf-8")
        assert "/root" not in text and "/home" not in text and "/tmp" not in text, path


@pytest.mark.parametrize("page", ["runs", "examine", "instrument", "segment", "own_images"])
@pytest.mark.parametrize("kind", ["maps", "scores"])
def test_runs_on_uploads_are_listed_to_those_alone_who_know_one(
    page: str, kind: str, open_page: Any, make_run: Any, make_maps: Any, runs_dir: Path
) -> None:
    """Somebody's photos in the lists of every visitor; an owner whose run is gone from the lists after a click."""
    token, make = "ab" * 16, make_maps if kind == "maps" else make_run
    secret, other = make(name="my faces"), make(name="more faces")
    strangers = make(name="their hands")
    for folder, owner in ((secret, token), (other, token), (strangers, "cd" * 16)):
        written = runs_dir / "uploads" / owner / "images"
        folder.write_config(folder.config().replace(dataset=f"folder:{written}"))

    def listed(at: Any) -> str:
        tables = "".join(table.value.to_string() for table in at.dataframe)
        return tables + str([one.options for kind in ("selectbox", "multiselect") for one in at.get(kind)])

    stranger = listed(open_page(page))
    assert "faces" not in stranger and "hands" not in stranger
    own = {"examine": "scores", "instrument": "scores", "segment": "maps", "runs": kind}.get(page)
    if own == kind:
        by_run = [{"run": secret.run_id}] if page == "runs" else []  # others show that run, and list none
        for query in (*by_run, {"upload": token}):
            told = listed(open_page(page, **query))
            assert "my faces" in told and "more faces" in told and "hands" not in told, query


def test_a_session_finds_its_own_runs_again(open_page: Any, make_run: Any, runs_dir: Path) -> None:
    """A detector that is lost when its owner looks at another page, whose address holds neither id."""
    folder = make_run(name="my faces")
    images = runs_dir / "uploads" / ("ab" * 16) / "images"
    folder.write_config(folder.config().replace(dataset=f"folder:{images}"))
    at = open_page("own_images", run=folder.run_id)
    del at.query_params["run"]
    at.switch_page("pages/runs.py").run()
    assert at.dataframe[0].value["Name"][0].startswith("my faces (")
    assert at.dataframe[0].value["Data set"][0] == "dropped images"
    (folder.path / "checkpoints").mkdir(exist_ok=True)
    links = [link.proto for link in at.run().get("page_link") if link.proto.label == "Score images"]
    assert [link.query_string for link in links] == [f"run={folder.run_id}"]
