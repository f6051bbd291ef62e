"""The Adapt page: its form is the URL, and what it shows of a run is what the folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from panda_core.config import RunConfig
from panda_core.events import CacheProgress, Evaluated, RunStarted, Stepped
from panda_core.runs.folder import RunFolder


def value_of(at: Any, key: str) -> Any:
    return at.session_state[key]


def test_every_preset_restores_its_settings_from_the_address(open_page: Any) -> None:
    """Guards against a preset whose link forgets a setting, or a widget that does not read the URL."""
    from pages.shared.forms.presets import PRESETS, query_of

    for preset in PRESETS:
        at = open_page("adapt", **query_of(preset))
        for key, value in preset.settings.items():
            assert value_of(at, key) == value, (preset.key, key)
        assert not at.button(key="start").disabled


def test_every_preset_button_fills_the_form(open_page: Any) -> None:
    """Guards against settings of the preset before that stay behind."""
    from pages.shared.forms.presets import PRESETS

    at = open_page("adapt", seed="5", set_k="7")
    for preset in PRESETS:
        at.button(key=f"preset-{preset.key}").click().run()
        assert not at.exception
        for key, value in preset.settings.items():
            assert value_of(at, key) == value, (preset.key, key)
        assert value_of(at, "seed") == 0
        assert value_of(at, "set_k") == 2
    assert value_of(at, "recipe") == "panda-ses"


def test_what_a_preset_leaves_open_is_its_own_recipes_default(open_page: Any) -> None:
    """Guards against another recipe's default of an option of the same name, which the run would take for a wish."""
    from pages.shared.forms.presets import PRESETS
    from panda_core.runs.kinds import options_of

    at = open_page("adapt")
    for preset in PRESETS:
        at.button(key=f"preset-{preset.key}").click().run()
        for key, option in options_of(RunConfig(recipe=str(preset.settings.get("recipe", "panda-early")))).items():
            expected = preset.settings.get(f"set_{key}", option.default)
            assert value_of(at, f"set_{key}") == expected, (preset.key, key)


def test_start_makes_a_run_of_the_form_and_opens_it(open_page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a form whose values do not reach the run."""
    started: list[RunConfig] = []

    def start(config: RunConfig) -> RunFolder:
        from panda_core.runs.kinds import resolve

        started.append(config)
        return RunFolder.create(resolve(config))

    monkeypatch.setattr("panda_core.runs.launch.start", start)
    monkeypatch.setattr("pages.shared.forms.starting.start", start)
    at = open_page("adapt", normal_class="8", recipe="panda-ewc", steps="12", lr="0.25", seed="3", set_k="5")
    at.button(key="start").click().run()
    assert not at.exception
    (config,) = started
    assert (config.normal_class, config.recipe, config.steps, config.lr, config.seed) == ("8", "panda-ewc", 12, 0.25, 3)
    assert dict(config.set) == {"k": 5}
    assert config.image_size is None
    run_id = at.query_params["run"]
    assert RunFolder.by_id(run_id, config.runs_dir) is not None
    assert any("starting" in element.proto.text for element in at.get("progress"))


def test_the_axes_stand_before_the_start(open_page: Any) -> None:
    """Guards against a browser that loads its charts, for seconds, when the first point is there to be drawn."""
    (chart,) = open_page("adapt", steps="12").get("plotly_chart")
    figure = json.loads(chart.proto.spec)
    assert not any(trace.get("x") for trace in figure["data"])
    assert figure["layout"]["xaxis"]["range"][1] >= 12
    assert "nothing has been measured" in chart.proto.alt


def test_pictures_of_the_classes_outlive_the_form(open_page: Any) -> None:
    """Guards against pictures that the server has forgotten when a slow browser asks for them, after Start."""
    addresses = [image.url for sheet in open_page("adapt").get("image") for image in sheet.proto.imgs]
    assert len(addresses) == 2 and all(address.startswith("data:image/png;base64,") for address in addresses)


def test_an_opened_run_brings_its_settings(open_page: Any, make_run: Any) -> None:
    """Guards against a shared link that shows a run beside settings that are not its own."""
    folder = make_run(normal_class="7", lr=0.7, seed=4, recipe="panda-ses", feature_norm="l2", set={"k": 3})
    at = open_page("adapt", run=folder.run_id)
    assert value_of(at, "normal_class") == "7"
    assert value_of(at, "lr") == 0.7
    assert value_of(at, "seed") == 4
    assert value_of(at, "recipe") == "panda-ses"
    assert value_of(at, "feature_norm") == "l2"
    assert value_of(at, "set_k") == 3
    assert value_of(at, "image_size") is None  # equals the automatic choice, so it is left automatic


def test_an_impossible_setting_is_said_before_the_start(open_page: Any) -> None:
    """Guards against a run that fails at once for a reason the form could have said."""
    at = open_page("adapt", recipe="frozen", steps="5")
    assert at.button(key="start").disabled
    assert any("frozen" in warning.value for warning in at.warning)


def test_a_folder_of_ones_own(open_page: Any, tmp_path: Path) -> None:
    """Guards against a folder that is not there, a good one that is refused, and a range no form knows."""
    import numpy as np
    from PIL import Image

    at = open_page("adapt", dataset="folder")
    assert at.button(key="start").disabled
    at.text_input(key="folder").set_value(str(tmp_path / "nowhere")).run()
    assert not at.exception and at.button(key="start").disabled
    (tmp_path / "parts").mkdir()
    for number in range(6):
        pixels = np.full((20, 20, 3), number * 20, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "parts" / f"{number}.png")
    at.text_input(key="folder").set_value(str(tmp_path / "parts")).run()
    assert not at.exception
    assert not at.button(key="start").disabled
    at.text_input(key="set_range").set_value("half").run()
    assert not at.exception and at.button(key="start").disabled
    at.text_input(key="set_range").set_value("0-4095").run()
    at.button(key="start").click().run()
    assert not at.exception
    (made,) = (tmp_path / "runs").iterdir()
    assert json.loads((made / "config.json").read_text())["set"]["range"] == "0-4095"


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.0, "unchanged"), (-0.0004, "unchanged"), (0.0006, "+0.001"), (-0.02, "-0.020"), (0.0004, "unchanged")],
)
def test_what_rounds_to_nothing_is_no_loss(gain: float, words: str) -> None:
    """ "-0.000 by adapting" in red, beside two numbers that are the same."""
    from pages.shared.runs.live import _change

    assert _change(gain).startswith(words) and _change(gain).endswith("by adapting")


def test_finished_run_shows_numbers_and_four_charts(open_page: Any, make_run: Any) -> None:
    """Guards the end state: rounded numbers, interval, and a way to the images."""
    folder = make_run()
    at = open_page("adapt", run=folder.run_id)
    values = {metric.label: metric.value for metric in at.metric}
    assert values == {
        "Final AUROC": "0.712",
        "Unadapted AUROC": "0.912",
        "Stop step": "20",
        "Oracle AUROC": "0.912",
    }
    assert any("0.650 to 0.770" in caption.value for caption in at.caption)
    charts = at.get("plotly_chart")
    assert len(charts) == 4
    for chart in charts:
        figure = json.loads(chart.proto.spec)
        assert figure["layout"]["xaxis"]["range"] and figure["layout"]["xaxis"]["autorange"] is False
        assert figure["layout"]["yaxis"]["range"] and figure["layout"]["yaxis"]["autorange"] is False
    assert not at.get("progress")
    assert any("1 file left out" in expander.label for expander in at.expander)


@pytest.mark.parametrize("state", ["stopped", "failed", "interrupted"])
def test_ended_early_says_why_and_can_go_on(
    state: str, open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against an end state that is a lie, and a resume button that does nothing."""
    folder = make_run(state if state != "interrupted" else "running")
    resumed: list[str] = []
    monkeypatch.setattr("pages.shared.runs.live.continue_run", lambda folder: resumed.append(folder.run_id))
    at = open_page("adapt", run=folder.run_id)
    told = [element.value for element in (*at.warning, *at.error)]
    words = {"stopped": "Stopped on request", "failed": "memory is full", "interrupted": "process ended"}
    assert any(words[state] in text for text in told)
    at.button(key="resume").click().run()
    assert resumed == [folder.run_id]


def test_running_run_can_be_stopped(open_page: Any, make_run: Any) -> None:
    """Guards the stop button: the request reaches the folder, and the page says so."""
    folder = make_run("running")
    with folder.lock():
        at = open_page("adapt", run=folder.run_id)
        assert at.get("progress")
        at.button(key="stop").click().run()
        assert folder.stop_requested()
        assert at.button(key="stopping").disabled


def test_waiting_run_says_how_many_are_ahead(open_page: Any, make_run: Any, runs_dir: Path) -> None:
    """Guards the queue: a run that waits says so, and for how many."""
    first = make_run("running")
    with first.lock():
        second = RunFolder.create(first.config().replace(runs_dir=str(runs_dir)))
        at = open_page("adapt", run=second.run_id)
        assert any("1 run ahead" in element.proto.text for element in at.get("progress"))


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


def test_an_option_without_effect_is_not_offered(open_page: Any) -> None:
    """Guards against a field that can be filled in and is then refused, or stays behind when it loses its effect."""

    def offered(at: Any) -> set[str]:
        return {widget.key for widget in (*at.number_input, *at.selectbox) if widget.key}

    at = open_page("adapt", recipe="deep-svdd")
    assert "set_objective" in offered(at) and not {"set_nu", "set_warm_up", "set_whiten_dims"} & offered(at)
    at.selectbox(key="set_objective").set_value("soft-boundary").run()
    assert {"set_nu", "set_warm_up"} <= offered(at)
    at.number_input(key="set_nu").set_value(0.3).run()
    at.selectbox(key="set_objective").set_value("one-class").run()
    assert "set_nu" not in offered(at) and not at.button(key="start").disabled
    assert {"set_whiten_dims"} <= offered(open_page("adapt", recipe="frozen"))
