"""The race: what is said of each run holds of its numbers, all start alike, and each keeps its colour."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from pages.shared.adapt.rivals import RACING, rivals_of
from pages.shared.duel.page import chosen_runs
from pages.shared.duel.race import duel_data, positions_at, told_equal
from pages.shared.player.story import SAME
from pages.shared.player.time_machine import machine_data
from pages.shared.run.results import change, where_from
from pages.shared.runs.choice import has_maps, recorded_runs
from pages.shared.runs.table import chosen_otherwise, row_of
from panda_core.config import RunConfig
from panda_core.figures import style
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.kinds import resolve
from panda_core.runs.loaded import LoadedRun

RECORDED = [run for run in list_runs(recorded_runs()) if not has_maps(run)]


def test_a_duel_stands_at_the_last_measured_step() -> None:
    """Runs measured at different steps, drawn as if they had been measured at the same ones."""
    assert positions_at([0, 10, 20], [0, 5, 10, 15, 20, 90]) == [0, 0, 1, 1, 2, 2]


def test_a_duel_holds_every_run(make_run: Any) -> None:
    """A run left out of the race, or two runs in one colour."""
    runs = [LoadedRun(make_run(recipe=recipe)) for recipe in ("panda-early", "panda-ses")]
    data = duel_data(runs)
    assert [run["label"] for run in data["runs"]] == [RECIPES[key].title for key in ("panda-early", "panda-ses")]
    assert len({run["colour"] for run in data["runs"]}) == 2
    assert [bool(run["note"]) for run in data["runs"]] == [False, True]  # what differs is said, not the same told twice
    assert all(len(run["at"]) == len(data["steps"]) for run in data["runs"])
    assert data["equal"].startswith(" = ".join(run["label"] for run in data["runs"]) + ": equal at every step")
    numbers = [{"steps": [0, 5], "auroc": [0.9, last], "anomalous_ratio": [2.0, 1.0]} for last in (0.8, 0.7, 0.8, 0.6)]
    assert told_equal(["a", "b", "c", "d"], numbers).startswith("a = c: equal")
    assert told_equal(["a", "b"], numbers[:2]) == ""


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.run_id)
def test_what_is_said_of_how_a_run_came_out_is_so(folder: RunFolder) -> None:
    """ "Past its best" beside the highest score of a race: one was of the last step, the other of a rule over many."""
    run = LoadedRun(folder)
    (shown,) = duel_data([run])["runs"]
    final, auroc = shown["final"], [value for value in shown["auroc"] if value is not None]
    rule, why = shown["came"]["rule"], shown["came"]["why"]
    assert rule.startswith(change(final - auroc[0])) and rule.endswith(RECIPES[run.config.recipe].chosen_by)
    assert RECIPES[run.config.recipe].stop == "last" or abs(final - auroc[-1]) > 5e-4
    at = {"step": shown["steps"][shown["auroc"].index(max(auroc))], "best": f"{max(auroc):.3f}"}
    if why.startswith("Step"):
        assert "saw no labels" in why and f"{auroc[-1]:.3f}, and step {at['step']}, its best, {at['best']};" in why
        return
    assert final == pytest.approx(auroc[-1], abs=5e-4)
    if "cost" in why:
        assert max(auroc) - final > SAME and why.startswith(f"At step {at['step']} it had {at['best']};")
        assert why.endswith(f" {max(auroc) - final:.3f}.")
    elif "hardly" in why:
        assert max(abs(value - auroc[0]) for value in auroc) <= SAME
        assert f"from {min(auroc):.3f} to {at['best']}" in why
    else:
        near = f"near its best, {at['best']} at step {at['step']}."
        told = "at its best." if at["step"] == shown["steps"][-1] else near
        assert max(auroc) - final <= SAME and why == f"It ended {told}"


def test_a_run_that_has_no_score_yet_is_not_judged(make_run: Any) -> None:
    """A reason why it lost beside a run that computes, or one without anomalies."""
    runs = [LoadedRun(make_run("running")), LoadedRun(make_run(anomalies=False))]
    assert [run["came"] for run in duel_data(runs)["runs"]] == [{}, {}]


def test_a_run_keeps_its_colour_while_others_begin(make_run: Any) -> None:
    """A curve that is orange, and green once the run before it has its first point."""
    runs = [LoadedRun(make_run(recipe=recipe)) for recipe in ("panda-early", "panda-ses", "panda-ewc")]
    runs[1].folder.log_file.unlink()  # it waits for its turn
    runs[1].folder.write_state("queued")
    data = duel_data(runs)
    assert data["waiting"] is True  # "the highest" of two, while the third has not begun
    waiting = data["runs"]
    assert [run["place"] for run in waiting] == [0, 2]
    runs[1].folder.write_state("stopped")
    assert duel_data(runs)["waiting"] is False
    assert [run["colour"] for run in waiting] == [style.RUNS[0], style.RUNS[2]]


def test_a_race_is_fair() -> None:
    """Sides that differ in more than their recipe: another seed, other images, another rate, more steps."""
    mine = RunConfig(
        dataset="digits", normal_class="9", seed=7, image_size=64, recipe=RACING[0], set={"cut": "blocks.2"}
    )
    sides = [resolve(config).to_json() for config in rivals_of(mine, RACING[1:])]
    for key in ("dataset", "normal_class", "seed", "lr", "steps", "eval_every", "image_size", "batch_size"):
        assert len({side[key] for side in sides}) == 1, key
    assert len({side["set"].get("cut") for side in sides}) == 1
    assert [side["recipe"] for side in sides] == RACING


def test_a_race_starts_one_run_for_each_recipe(open_page: Any, runs_dir: Any) -> None:
    """A button that starts one side alone, or forgets which runs belong together."""
    links = {link.proto.label: link.proto for link in open_page("duel", duel_lr="30").get("page_link")}
    query = dict(parse_qsl(links["Race recipes of your own"].query_string))
    assert (query["lr"], query["rivals"]) == ("30", "panda-ses,panda-ewc")
    at = open_page("adapt", **query)
    assert at.button(key="start").label == "Start the race"
    at.button(key="start").click().run()
    assert not at.exception
    started = {folder.config().recipe for folder in list_runs(runs_dir)}
    assert started == {"panda-early", "panda-ses", "panda-ewc"}
    given = at.query_params["duel"]
    address = given if isinstance(given, str) else given[0]
    assert {folder.run_id for folder in chosen_runs(address)} == {folder.run_id for folder in list_runs(runs_dir)}


def test_strangers_in_the_address_of_a_duel_are_passed_over(make_run: Any, make_maps: Any) -> None:
    """A stale or made-up link that ends in an error; a segmentation in a race of adaptations."""
    run, maps = make_run(), make_maps()
    assert [folder.run_id for folder in chosen_runs(f"../x,{maps.run_id},{run.run_id},{run.run_id}")] == [run.run_id]


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.run_id)
def test_a_step_is_only_told_where_one_step_was_chosen(folder: RunFolder) -> None:
    """ "Stopped at step 20" where each image chose its own; a curve beside a score that is none of its points."""
    run = LoadedRun(folder)
    recipe = RECIPES[run.config.recipe]
    assert (machine_data(run)["stopped"]["mark"] == "median") == recipe.per_image
    assert ("median" in where_from(run)) == recipe.per_image == (not where_from(run).startswith("step "))
    row = row_of(folder)
    final, last = row.metrics["auroc"], row.curve.auroc[-1]
    assert last is not None
    said = chosen_otherwise(row)
    assert bool(said) == (abs(final - last) >= 5e-4)
    assert not said or (f"{final:.3f}" in said and recipe.chosen_by in said)


def test_a_race_is_found_again_by_clicks(open_page: Any, make_run: Any) -> None:
    """A race that is lost with its address: other pages lead to the recorded one alone."""
    ids = [make_run(recipe=recipe).run_id for recipe in ("panda-early", "panda-ewc")]
    at = open_page("runs", compare=",".join(ids))
    links = {link.proto.label: dict(parse_qsl(link.proto.query_string)) for link in at.get("page_link")}
    assert links["Watch them race"]["duel"] == ",".join(ids)
    at = open_page("duel", duel=",".join(ids))
    del at.query_params["duel"]
    links = {link.proto.label: dict(parse_qsl(link.proto.query_string)) for link in at.run().get("page_link")}
    assert links["Back to your race"]["duel"] == ",".join(ids)


def test_runs_of_other_images_are_no_fair_race(open_page: Any, make_run: Any) -> None:
    """ "The same images, the same start, the same seed" over runs that have none of them in common."""
    fair, other = make_run(recipe="panda-ewc").run_id, make_run(normal_class="8", seed=3).run_id
    said = {
        both: any("The same images" in text.value for text in open_page("duel", duel=f"{first.run_id},{both}").markdown)
        for first in [make_run()]
        for both in (fair, other)
    }
    assert said == {fair: True, other: False}
    links = open_page("runs", compare=f"{fair},{other}").get("page_link")
    assert not [link for link in links if link.proto.label == "Watch them race"]
