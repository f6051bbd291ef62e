"""The Adapt page: its form is the URL, and what it shows of a run is what the folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from panda_core.config import RunConfig
from panda_core.runs.folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]


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

    monkeypatch.setattr("pages.shared.adapt.page.start", start)
    at = open_page("adapt", normal_class="8", recipe="panda-ewc", steps="12", lr="0.25", seed="3", set_k="5")
    at.button(key="start").click().run()
    assert not at.exception
    (config,) = started
    assert (config.normal_class, config.recipe, config.steps, config.lr, config.seed) == ("8", "panda-ewc", 12, 0.25, 3)
    assert dict(config.set) == {"k": 5}
    assert config.image_size is None
    (run_id,) = at.query_params["run"] if isinstance(at.query_params["run"], list) else [at.query_params["run"]]
    assert RunFolder.by_id(run_id, config.runs_dir) is not None
    assert any("starting" in element.proto.text for element in at.get("progress"))


def test_pictures_of_the_classes_outlive_the_form(open_page: Any) -> None:
    """Guards against pictures that the server has forgotten when a slow browser asks for them, after Start."""
    addresses = [image.url for sheet in open_page("adapt").get("image") for image in sheet.proto.imgs]
    assert len(addresses) == 2 and all(address.startswith("data:image/png;base64,") for address in addresses)


def test_a_run_is_run_again_with_its_settings(open_page: Any, make_run: Any) -> None:
    """Guards against a link from a run to a form that is filled with settings that are not the run's."""
    folder = make_run(normal_class="7", lr=0.7, seed=4, recipe="panda-ses", feature_norm="l2", set={"k": 3})
    links = {link.proto.label: link.proto for link in open_page("settings", run=folder.run_id).get("page_link")}
    at = open_page("adapt", **dict(parse_qsl(links["Run it again with other settings"].query_string)))
    assert value_of(at, "normal_class") == "7"
    assert value_of(at, "lr") == 0.7
    assert value_of(at, "seed") == 4
    assert value_of(at, "recipe") == "panda-ses"
    assert value_of(at, "feature_norm") == "l2"
    assert value_of(at, "set_k") == 3
    assert value_of(at, "image_size") is None  # equals the automatic choice, so it is left automatic


def test_an_address_of_a_run_beside_the_form_leads_to_its_film(open_page: Any, make_run: Any) -> None:
    """Guards links of former times: the run is shown, at the step that they name."""
    folder = make_run()
    at = AppTest.from_file(str(ROOT / "main.py"), default_timeout=60)
    at.query_params["run"], at.query_params["at"] = folder.run_id, "10"
    at.switch_page("pages/adapt.py").run()
    assert not at.exception and at.query_params["at"] in ("10", ["10"])
    assert any("0.712" in text.value for text in at.markdown)


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


@pytest.mark.parametrize("recipe", ["frozen", "ensemble"])
def test_a_recipe_that_adapts_nothing_says_so(open_page: Any, recipe: str) -> None:
    """ "0 steps, learning rate 0.1", and a network that is adapted to images like these."""
    at = open_page("adapt", recipe=recipe)
    said = " ".join(block.value for block in [*at.markdown, *at.caption])
    assert "Nothing is adapted" in said and "0 steps" not in said and "is adapted to images" not in said


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
