"""The time machine, the duel, elastic weights and teacher mode, without a browser."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from pages.shared.examine.stopping_view import relative_scores
from pages.shared.forms.presets import STRENGTHS, elastic_settings
from pages.shared.player.time_machine import machine_data, place_of
from pages.shared.player.time_machine_maps import find_maps, maps_config, same_images, segmentations_of
from pages.shared.runs.choice import find_run
from panda_core.errors import PandaError
from panda_core.records import write_arrays, write_json
from panda_core.runs.loaded import LoadedRun


def test_the_machine_has_pictures_words_and_places(make_run: Any) -> None:
    """A strip of twelve images without images, or words that belong to other steps."""
    run = LoadedRun(make_run())
    data = machine_data(run)
    assert data["steps"] == [0, 10, 20] and len(data["words"]) == 3
    for image in data["twelve"]:
        kind, _, content = image["picture"].partition(",")
        assert kind == "data:image/png;base64" and base64.b64decode(content).startswith(b"\x89PNG")
        assert run.split.test[image["row"]] in image["name"]


def test_a_refit_is_shown_where_every_step_recorded_it(make_run: Any) -> None:
    """A run of an older version that cannot be looked at, or whose switch shows steps of another kind."""
    run = LoadedRun(make_run())
    assert machine_data(run)["refitted"] is None
    for step in (0, 10, 20):
        arrays = run.adapt_arrays(step).by_name()
        arrays |= {f"refit_{split}": 2 * arrays[f"projection_{split}"] for split in ("train", "test")}
        write_arrays(run.folder.arrays_file(step), arrays)
        refitted = machine_data(run)["refitted"]
        assert (refitted is not None) == (step == 20)
    assert len(refitted["train"]) == len(refitted["enlarged"]) == 3


def test_a_run_without_its_data_still_moves(make_run: Any) -> None:
    """A recorded run of data that is not on this machine, refused for want of thumbnails."""
    run = LoadedRun(make_run())
    run.folder.write_config(run.config.replace(dataset="folder:/gone"))
    assert {image["picture"] for image in machine_data(LoadedRun(run.folder))["twelve"]} == {""}


def maps_of(make_maps: Any, run: LoadedRun, steps: tuple[int, ...] = (0, 10, 20), **config: Any) -> LoadedRun:
    """Return a segmentation with the checkpoints of `run`, on the same test images."""
    own = {"dataset": "digits", "test_limit": run.config.test_limit, "set": {"adapted": str(run.folder.path)}}
    state = config.pop("state", "finished")
    return LoadedRun(make_maps(state, steps=steps, **own | config))


def test_a_segmentation_belongs_to_the_run_whose_checkpoints_it_uses(make_run: Any, make_maps: Any) -> None:
    """Maps of another run, of other images or of an unfinished run in the panel; an old run that hides a new one."""
    run, other = LoadedRun(make_run()), LoadedRun(make_run())
    for stranger in (
        {"set": {"adapted": str(other.folder.path)}},
        {"set": {}},
        {"dataset": "synthetic:digits"},
        {"seed": 1},
        {"test_limit": 5},
    ):
        maps_of(make_maps, run, **stranger)
    assert find_maps(run) is None and segmentations_of(run) == []
    maps_of(make_maps, run, state="stopped")
    assert find_maps(run) is None and len(segmentations_of(run)) == 1
    maps = maps_of(make_maps, run)
    maps_of(make_maps, run, steps=(20,))  # newer, and of one checkpoint alone
    found = find_maps(run)
    assert found is not None and found.run_id == maps.run_id


def test_the_maps_are_those_of_the_twelve_images(make_run: Any, make_maps: Any) -> None:
    """A heatmap over another image than its own: both runs list their images in an order of their own."""
    run = LoadedRun(make_run())
    maps = maps_of(make_maps, run, steps=(0, 20))
    order = np.random.default_rng(0).permutation(len(maps.split.test))
    for step in (0, 20):
        kept = maps.maps(step).by_name()
        kept["grids"] = np.full_like(kept["grids"], 1.0)
        kept["grids"][:, 0, 0] += np.arange(len(order))  # the place of each image among the maps, at one patch
        write_arrays(maps.folder.maps_file(step), kept | {"grids": kept["grids"][order]})
        arrays = maps.arrays(step).by_name() | {"peaks": (1.0 + np.arange(len(order)))[order]}
        write_arrays(maps.folder.arrays_file(step), arrays)
    names = [maps.split.test[place] for place in order]
    write_json(maps.folder.split_file, maps.split.to_json() | {"test": names})
    data = machine_data(run, LoadedRun(maps.folder))
    heat = data["heat"]
    assert [found is None for found in heat["maps"]] == [False, True, False]  # step 10 was not segmented
    assert len(heat["pictures"]) == len(data["twelve"]) and heat["pictures"][0].startswith("data:image/jpeg;base64,")
    unit = float(maps.maps(0).held_out_grids.mean())
    for image, peak in zip(data["twelve"], heat["peaks"][0], strict=True):
        there = maps.split.test.index(run.split.test[image["row"]])
        assert peak == pytest.approx((1.0 + there) / unit, rel=1e-2)
    json.dumps(heat, allow_nan=False)


def test_the_twelve_are_images_that_have_maps(make_run: Any, make_maps: Any) -> None:
    """An image in the strip that can be chosen and has no heatmap."""
    run = LoadedRun(make_run())
    maps = maps_of(make_maps, run, test_limit=20)
    known, _ = same_images(run, maps)
    assert 0 < len(known) < len(run.split.test)
    assert {image["row"] for image in machine_data(run, maps)["twelve"]} <= set(known.tolist())


@pytest.mark.parametrize("damage", ["maps", "split.json"])
def test_damaged_maps_leave_the_rest(damage: str, make_run: Any, make_maps: Any) -> None:
    """A time machine that does not open because a segmentation beside it is broken."""
    run = LoadedRun(make_run())
    maps = maps_of(make_maps, run)
    for path in (maps.folder.path / "maps").glob("*") if damage == "maps" else [maps.folder.path / damage]:
        path.write_bytes(b"nonsense")
    data = machine_data(run, LoadedRun(maps.folder))
    assert data["heat"] is None and len(data["twelve"]) == 12


def test_one_click_computes_the_maps_of_all_checkpoints(open_page: Any, make_run: Any, runs_dir: Any) -> None:
    """A button that segments the last network alone or other images, or that stays while it computes."""
    run = LoadedRun(make_run())
    assert not compute_buttons(open_page("instrument", run=run.run_id))  # no checkpoints, no maps
    give_checkpoints(run)
    at = open_page("instrument", run=run.run_id)
    at.button(key="compute_heatmaps").click().run()
    assert not at.exception
    (made,) = segmentations_of(run)
    config = made.config()
    assert config.set["checkpoint"] == "all" and config.seed == run.config.seed
    assert config.test_limit == run.config.test_limit == 40
    assert not compute_buttons(at) and any("Stop" in button.label for button in at.button)
    made.write_state("failed", "The disk is full.")
    at = open_page("instrument", run=run.run_id)
    assert compute_buttons(at) and "The disk is full" in at.warning[0].value


def test_maps_that_are_there_need_no_button(open_page: Any, make_run: Any, make_maps: Any) -> None:
    """An offer to compute what is on the page already, or none where a checkpoint lacks its maps."""
    run = LoadedRun(make_run())
    give_checkpoints(run)
    maps_of(make_maps, run, steps=(0, 20))
    assert compute_buttons(open_page("instrument", run=run.run_id))
    maps_of(make_maps, run)
    assert not compute_buttons(open_page("instrument", run=run.run_id))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"backbone": "lenet"}, "a pretrained network"),
        ({"dataset": "folder:/gone"}, "gone"),
        ({"dataset": "(images)"}, "handed over"),
    ],
)
def test_a_run_without_maps_says_why(fields: dict[str, str], words: str, open_page: Any, make_run: Any) -> None:
    """A button that leads to an error: a network that knows no images, data that is gone or was never stored."""
    folder = make_run()
    give_checkpoints(LoadedRun(folder))
    folder.write_config(folder.config().replace(**fields))
    with pytest.raises(PandaError, match=words):
        maps_config(LoadedRun(folder))
    at = open_page("instrument", run=folder.run_id)
    assert not compute_buttons(at)
    assert any("has no heatmaps" in caption.value for caption in at.caption)


def compute_buttons(at: Any) -> list[Any]:
    return [button for button in at.button if button.key == "compute_heatmaps"]


def give_checkpoints(run: LoadedRun) -> None:
    """Put an empty checkpoint of each measured step into a run."""
    (run.folder.path / "checkpoints").mkdir()
    for event in run.evaluated:
        (run.folder.path / "checkpoints" / f"{event.step:06d}.safetensors").write_bytes(b"")


def test_a_recorded_run_comes_with_its_maps(open_page: Any) -> None:
    """Maps that were recorded of another run, that lack steps, or that the Segment page cannot show."""
    folder = find_run("break-elpv-mono")
    assert folder is not None
    run = LoadedRun(folder)
    maps = find_maps(run)
    assert maps is not None and maps.run_id == "maps-elpv-mono"
    data = machine_data(run, LoadedRun(maps))
    assert all(data["heat"]["maps"]) and all(data["heat"]["pictures"]) and len(data["twelve"]) == 12
    at = open_page("segment", run=maps.run_id)
    assert not at.error and any("no nearest patches" in text.value for text in at.markdown)


@pytest.mark.parametrize(
    ("text", "place"), [("0", 0), ("12", 1), ("99999", 2), ("", None), ("-3", None), ("1e9", None), ("٣", None)]
)
def test_the_step_of_an_address(text: str, place: int | None) -> None:
    """A link that ends in an error, or at a step that was not meant."""
    assert place_of(text, [0, 10, 20]) == place


def test_strengths_differ_in_nothing_else() -> None:
    """A slider that compares runs which differ in more than the strength."""
    rest = [{**elastic_settings(strength), "set_ewc_strength": 0} for strength in STRENGTHS]
    assert all(settings == rest[0] for settings in rest)


def test_relative_scores_follow_the_rule(make_run: Any) -> None:
    """A curve that marks another checkpoint as the largest than the rule of the run chooses."""
    run = LoadedRun(make_run(recipe="panda-ses"))
    steps, table = relative_scores(run.run_id, 3)
    assert steps == [0, 10, 20]
    arrays = run.arrays(10)
    assert table[1] == pytest.approx(arrays.scores / float(arrays.normaliser), rel=1e-5)
    assert np.isfinite(table).all()


def test_a_teacher_hides_locks_and_enlarges_by_address(open_page: Any) -> None:
    """A class that changes what the lesson needs; a choice that is lost on the next page."""
    at = open_page("adapt", lock="lr,seed", hide="presets,nonsense", large="yes")
    assert not [button for button in at.button if button.key.startswith("preset-")]
    assert at.number_input(key="lr").disabled and at.number_input(key="seed").disabled
    assert not at.number_input(key="steps").disabled
    at.query_params.clear()
    at.switch_page("pages/home.py").run()
    ways = {"**Teach it**", "**Check my photos**", "**Run experiments**"}
    assert not ways & {link.proto.label for link in at.get("page_link")}
    at.query_params["hide"] = ""
    at.run()
    assert ways <= {link.proto.label for link in at.get("page_link")}


@pytest.mark.parametrize("strength", ["0", "10", "10000", "banana"])
def test_every_strength_shows_its_layers(strength: str, open_page: Any) -> None:
    """A recorded run without the Fisher information or the displacement that the page is about."""
    at = open_page("elastic", strength=strength)
    specs = [chart.proto.spec for chart in at.get("plotly_chart")]
    assert len(specs) == 4
    assert sum("blocks.3.0" in spec for spec in specs) == 2


def test_recorded_runs_end_as_their_names_say() -> None:
    """A film called *too far* that loses nothing, or *nothing held* that ends no worse than it began."""
    ends = {}
    for run_id in ("break-digits-9", "break-cifar10-ship", "ewc-cifar10-ship", "ewc-digits-9"):
        folder = find_run(run_id)
        assert folder is not None
        ends[run_id] = [event.auroc for event in LoadedRun(folder).evaluated]
    far, free, held, elastic = ends.values()
    assert max(far) - far[-1] > 0.03 and far[-1] < elastic[-1]
    assert free[-1] < free[0] - 0.03 and held[-1] > held[0]
    folder = find_run("break-digits-9")
    assert folder is not None and folder.config().name == "Digits, too far"
