"""The New classes page: pick a model, drop references and images, and see scores and maps at once."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, run
from panda_core.events import RunStarted
from panda_core.runs.folder import RunFolder


@pytest.fixture
def trained(tiny_backbone: str, tmp_path: Path) -> RunFolder:
    """Return a finished run of a tiny network: trained on digits 4 and 5, tested on 3."""
    config = RunConfig(
        dataset="digits",
        normal_class="3",
        recipe="resad",
        backbone=tiny_backbone,
        image_size=32,
        steps=3,
        test_limit=20,
        batch_size=8,
        runs_dir=str(tmp_path / "runs"),
        device="cpu",
        set={"seen": "4@digits,5@digits", "seen_limit": 10, "blocks": 2, "position_width": 8},
    )
    (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
    return RunFolder(tmp_path / "runs" / run_id)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process do what a process of its own does for the page: it knows the tiny network."""
    from panda_core import worker
    from panda_core.runs import launch

    class Ended:
        def poll(self) -> int:
            return 0

    def work(job: str, *paths: Path) -> Any:
        # In a thread, as a web server's threads would find it: a check must not need the main one.
        thread = threading.Thread(target=worker.JOBS[job], args=paths)
        thread.start()
        thread.join(60)
        return Ended()

    monkeypatch.setattr(launch, "_hand_over", work)
    monkeypatch.setattr(launch, "keep_ready", lambda: None)


def files(count: int, start: int = 0) -> list[tuple[str, bytes, str]]:
    found = []
    for number in range(start, start + count):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        held = io.BytesIO()
        Image.fromarray(pixels).save(held, "PNG")
        found.append((f"screw {number}.png", held.getvalue(), "image/png"))
    return found


def dropped(at: Any, references: int, others: int) -> Any:
    at.file_uploader(key="new_references").set_value(files(references)).run()
    return at.file_uploader(key="new_others").set_value(files(others, 100)).run()


def parameter(at: Any, name: str) -> str:
    value = at.query_params[name]
    return str(value if isinstance(value, str) else value[0])


def button(at: Any, key: str) -> Any:
    (found,) = [one for one in at.button if one.key == key]
    return found


def test_without_a_model_the_page_offers_to_train_one(open_page: Callable[..., Any]) -> None:
    """A first visit that asks for a choice among no models."""
    at = open_page("new_classes")
    assert button(at, "new-example").label == "Train the example"
    assert not at.file_uploader


def test_the_example_and_the_form_start_what_they_say(
    open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A button whose settings are refused, or a form that loses what was chosen."""
    from panda_core.runs import launch

    monkeypatch.setattr(launch, "_hand_over", lambda *job: None)
    monkeypatch.setattr(launch, "keep_ready", lambda: None)
    at = button(open_page("new_classes"), "new-example").click().run()
    assert not at.exception
    config = RunFolder(tmp_path / "runs" / parameter(at, "run")).config()
    assert config.normal_class == "poly" and config.set["seen"] == "mono@elpv"

    at = open_page("new_classes", new_classes="train one")
    at.text_input(key="new_set_seen").set_value("mono@elpv").run()
    at.number_input(key="new_set_references").set_value(2).run()
    button(at, "new-train").click().run()
    config = RunFolder(tmp_path / "runs" / parameter(at, "run")).config()
    assert (config.recipe, config.normal_class, config.set["references"]) == ("resad", "poly", 2)

    at = open_page("new_classes", new_classes="train one")
    at.text_input(key="new_set_seen").set_value("poly@elpv").run()
    assert button(at, "new-train").disabled
    assert any("must not be trained on" in warning.value for warning in at.warning)


def test_references_and_images_give_scores_and_maps(
    open_page: Callable[..., Any], trained: RunFolder, here: None
) -> None:
    """A judgement beside the run's own references instead of those that were dropped, or neighbours out of them."""
    at = dropped(open_page("new_classes", run=trained.run_id), 3, 4)
    assert not at.exception and not at.error
    (check,) = (trained.path / "checks").iterdir()
    assert (check / "references.json").is_file() and parameter(at, "check") == check.name
    with np.load(check / "maps.npz") as maps:
        assert len(maps["grids"]) == 4 and maps["origins_0"][..., 0].max() < 3
    (table,) = at.dataframe
    assert set(table.value["Image"]) == {f"screw {number}.png" for number in range(100, 104)}
    assert table.value["Highest map value"].notna().all()
    assert any("held-out normal patches of the seen classes" in text.value for text in at.markdown)


def test_a_drop_is_judged_once_and_again_with_other_references(
    open_page: Callable[..., Any], trained: RunFolder, here: None
) -> None:
    """A check for every look at the page; references that were added, and verdicts that know nothing of them."""
    at = dropped(open_page("new_classes", run=trained.run_id), 2, 2)
    first = parameter(at, "check")
    at.run()
    assert parameter(at, "check") == first and len(list((trained.path / "checks").iterdir())) == 1
    at.file_uploader(key="new_references").set_value(files(3)).run()
    assert parameter(at, "check") != first and len(list((trained.path / "checks").iterdir())) == 2


@pytest.mark.parametrize("field", ["new_references", "new_others"])
def test_a_file_that_is_no_image_is_named(
    field: str, open_page: Callable[..., Any], trained: RunFolder, here: None
) -> None:
    """A trace of the program's insides for what was sent past the browser; a file that is left out in silence."""
    at = dropped(open_page("new_classes", run=trained.run_id), 3, 2)
    held = at.file_uploader(key=field)
    held.set_value([*((one.name, one.getvalue(), one.type) for one in held.value), ("n.txt", b"words", "text/plain")])
    at.run()
    assert not at.exception and not at.error
    assert len(at.dataframe[0].value) == 2 and any("n.txt" in text.value for text in at.markdown)


@pytest.mark.parametrize(("references", "others", "ready"), [(1, 3, False), (9, 3, False), (2, 0, False), (8, 1, True)])
def test_two_to_eight_references_are_needed(
    references: int, others: int, ready: bool, open_page: Callable[..., Any], trained: RunFolder, here: None
) -> None:
    """One reference, which says nothing about how normal images differ, or nothing to judge."""
    at = dropped(open_page("new_classes", run=trained.run_id), references, others)
    assert ("check" in at.query_params) == ready
    assert any("2 to 8 are needed" in warning.value for warning in at.warning) == (not 2 <= references <= 8)


def test_a_result_whose_references_are_gone_says_so(
    open_page: Callable[..., Any], trained: RunFolder, here: None, tmp_path: Path
) -> None:
    """Pictures of other images in the place of references that were removed."""
    import json
    import shutil

    dropped(open_page("new_classes", run=trained.run_id), 2, 2)
    (check,) = (trained.path / "checks").iterdir()
    token = json.loads((check / "photos.json").read_text())["references"]
    (folder,) = tmp_path.rglob(token)
    shutil.rmtree(folder)
    at = open_page("new_classes", run=trained.run_id, check=check.name)
    assert any("references of this check have been removed" in error.value for error in at.error)


def test_the_segment_page_shows_its_maps_too(open_page: Callable[..., Any], trained: RunFolder) -> None:
    """A run with maps that the page of maps cannot draw."""
    at = open_page("segment", run=trained.run_id)
    assert not at.exception and not at.error
    assert any("nearest to it" in text.value for text in at.markdown)
