"""The film of a run: what it shows is what the folder says, while the run computes and after it has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from pages.shared.runs.choice import recorded_runs
from panda_core.events import CacheProgress, Evaluated, RunStarted, Stepped
from panda_core.records import append_line
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.loaded import LoadedRun
from tests.pages.conftest import component_data


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.0, "unchanged"), (-0.0004, "unchanged"), (0.0006, "+0.001"), (-0.02, "-0.020"), (0.0004, "unchanged")],
)
def test_what_rounds_to_nothing_is_no_loss(gain: float, words: str) -> None:
    """ "-0.000 by adapting" in red, beside two numbers that are the same."""
    from pages.shared.run.results import change

    assert change(gain).startswith(words) and change(gain).endswith("by adapting")


def test_finished_run_shows_its_figures(open_page: Any, make_run: Any) -> None:
    """Guards the end state: rounded numbers, the interval, what chose the step, and no word of a stop that was none."""
    folder = make_run()
    at = open_page("instrument", run=folder.run_id)
    told = {name.strip(): value for name, _, value in (text.value.partition("\n") for text in at.markdown) if value}
    assert told == {
        "Final AUROC": "**0.712, -0.200 by adapting**",
        "95 % interval": "**0.650 to 0.770**",
        "Unadapted AUROC": "**0.912**",
        "Scores from": "**step 20, fixed length**",
        "Best AUROC on the way": "**0.912, step 0**",
    }
    assert not at.get("progress")
    assert any("1 file left out" in expander.label for expander in at.expander)


@pytest.mark.parametrize("run", [run.run_id for run in map(LoadedRun, list_runs(recorded_runs())) if not run.has_maps])
def test_every_recorded_run_has_its_film(run: str, open_page: Any) -> None:
    """A film of one recipe alone that is no film: what is told below its figures."""
    at = open_page("instrument", run=run)
    assert not at.exception and not at.error and len(component_data(at, "panda_time_machine")) == 1


def test_a_correction_made_in_a_terminal_is_told(open_page: Any, make_run: Any) -> None:
    """Figures of a run that was learned again since, without a word; one that was taken back, told as if in force."""
    folder = make_run()
    (folder.path / "checkpoints").mkdir()
    pages = ("instrument", "examine", "settings", "own_images")
    for number, (kind, images) in enumerate((("accepted", ["a.png", "b.png"]), ("rejected", ["c.png"])), 1):
        record = {"number": number, "time": 1.0, "kind": kind, "images": images, "run": f"corrections/{number:04d}/x"}
        append_line(folder.path / "corrections.jsonl", record)
    for page in pages:
        (told,) = [box.value for box in open_page(page, run=folder.run_id).info if "Corrected" in box.value]
        assert "2 accepted, 1 rejected" in told and "as it was before" in told
    for number in (2, 1):
        append_line(folder.path / "corrections.jsonl", {"undone": number, "time": 2.0})
    assert not [box for box in open_page("instrument", run=folder.run_id).info if "Corrected" in box.value]


@pytest.mark.parametrize("state", ["stopped", "failed", "interrupted"])
def test_ended_early_says_why_and_can_go_on(
    state: str, open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against an end state that is a lie, and a resume button that does nothing."""
    folder = make_run(state if state != "interrupted" else "running")
    resumed: list[str] = []
    monkeypatch.setattr("pages.shared.runs.live.continue_run", lambda folder: resumed.append(folder.run_id))
    at = open_page("instrument", run=folder.run_id)
    told = [element.value for element in (*at.warning, *at.error)]
    words = {"stopped": "Stopped on request", "failed": "memory is full", "interrupted": "process ended"}
    assert any(words[state] in text for text in told)
    at.button(key="resume").click().run()
    assert resumed == [folder.run_id]


def test_running_run_can_be_stopped(open_page: Any, make_run: Any) -> None:
    """Guards the stop button: the request reaches the folder, and the page says so."""
    folder = make_run("running")
    with folder.lock():
        at = open_page("instrument", run=folder.run_id)
        assert at.get("progress")
        at.button(key="stop").click().run()
        assert folder.stop_requested()
        assert at.button(key="stopping").disabled


def test_waiting_run_says_how_many_are_ahead(open_page: Any, make_run: Any, runs_dir: Path) -> None:
    """Guards the queue: a run that waits says so, and for how many."""
    first = make_run("running")
    with first.lock():
        second = RunFolder.create(first.config().replace(runs_dir=str(runs_dir)))
        at = open_page("instrument", run=second.run_id)
        assert any("1 run ahead" in element.proto.text for element in at.get("progress"))


@pytest.mark.parametrize("page", ["instrument", "examine", "settings", "runs"])
def test_a_run_that_computes_is_no_longer_queued(
    page: str, open_page: Any, make_run: Any, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the state beside the name: drawn once, above the film that grows, it said "queued" to the end."""
    looks: list[Any] = []

    def fragment(look: Any, **_: Any) -> Any:
        return lambda *shown: looks.append((look, shown)) or look(*shown)

    folder = make_run()
    folder.write_state("queued")
    monkeypatch.setattr("streamlit.fragment", fragment)
    reruns: list[None] = []
    monkeypatch.setattr("streamlit.rerun", lambda: reruns.append(None))
    open_page(page, run=folder.run_id)
    look, shown = next((look, shown) for look, shown in looks if look.__name__ == "_look_for_change")
    assert not reruns
    with folder.lock():
        folder.write_state("running")
        look(*shown)
    assert reruns


def test_progress_names_the_stage() -> None:
    """Guards the sentence over the progress bar at every stage."""
    from pages.shared.runs.progress import progress_of, waiting

    started = RunStarted(run_id="x", config={}, time=0.0)
    read = [CacheProgress(split="train", done=done, total=100, time=float(done)) for done in (10, 30)]
    assert waiting(2).stage == "waiting: 2 runs ahead"
    assert progress_of([started], 50).stage == "loading the network"
    reading = progress_of([started, *read], 50)
    assert reading.stage == "reading normal images: 30 of 100"
    assert reading.seconds_left == pytest.approx(70)
    done = CacheProgress(split="test", done=5, total=5, time=40.0)
    assert progress_of([started, done], 50).stage == "measuring the unadapted network"
    zero, step = point(0, 50.0), Stepped(step=10, images_seen=320, loss=1.0, time=60.0)
    adapting = progress_of([started, done, zero, step], 50)
    assert adapting.stage == "adapting: step 10 of 50"
    assert (adapting.fraction, adapting.seconds_left) == (0.2, pytest.approx(40))
    assert progress_of([started, point(50, 99.0)], 50).stage == "working out the final scores"


def point(step: int, time: float) -> Evaluated:
    return Evaluated(
        step=step, images_seen=0, auroc=0.9, auroc_low=0.8, auroc_high=1.0, center_auroc=0.9, spread=1.0,
        normal_ratio=1.0, anomalous_ratio=2.0, effective_rank=9.0, alarm="adapting", seconds=0.1, time=time,
    )  # fmt: skip


def test_every_view_of_a_run_leads_to_the_others(open_page: Any, make_run: Any, make_maps: Any) -> None:
    """Guards the one page of a run: a view that is a dead end, or that leads to another run."""
    folder, maps = make_run(), make_maps()
    for page in ("instrument", "examine", "settings"):
        links = {
            link.proto.label: link.proto.query_string for link in open_page(page, run=folder.run_id).get("page_link")
        }
        assert {links[view] for view in ("Film", "Images", "Settings")} == {f"run={folder.run_id}"}, page
    links = {
        link.proto.label: link.proto.query_string for link in open_page("segment", run=maps.run_id).get("page_link")
    }
    assert links["Maps"] == links["Settings"] == f"run={maps.run_id}" and "Film" not in links


def test_a_computing_run_is_live(open_page: Any, make_run: Any) -> None:
    """Guards the live view: the film is there while the run computes, and stands at its newest measurement."""
    folder = make_run("running")
    with folder.lock():
        at = open_page("instrument", run=folder.run_id)
    (film,) = component_data(at, "panda_time_machine")
    assert at.get("progress") and "Live" in {link.proto.label for link in at.get("page_link")}
    assert film["steps"] == [0, 10, 20]


def test_a_film_ends_where_its_run_is_planned_to(open_page: Any, make_run: Any) -> None:
    """An axis that ends at the newest step: nobody sees how much of the run is still to come."""
    folder = make_run("running", steps=200)
    for locked, end in ((True, 200), (False, 20)):  # computing, then interrupted
        with folder.lock() if locked else contextlib.nullcontext():
            (film,) = component_data(open_page("instrument", run=folder.run_id), "panda_time_machine")
        assert (film["steps"], film["end"]) == ([0, 10, 20], end)


def test_settings_are_told_with_what_each_is(open_page: Any, make_run: Any) -> None:
    """A table of names that only who wrote them understands."""
    table = open_page("settings", run=make_run().run_id).dataframe[0].value.set_index("Setting")
    assert (table["What it is"].str.len() > 10).all() and not table["What it is"].str.contains("[*`]").any()
    assert table.loc["Seed", "What it is"] == "The number from which every random choice is drawn"
