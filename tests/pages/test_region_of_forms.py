"""The region of interest in the forms of the Lab and of Maps: marked, brought, kept with the run, and shown of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

from panda_core.config import RunConfig
from panda_core.datasets.io.regions import read_region
from panda_core.runs.folder import RunFolder
from tests.pages.conftest import component_data

LEFT_HALF = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
FORMS = {  # page -> what opens its form, the prefix of its widgets, the key of its button
    "adapt": ({}, "", "start"),
    "segment": ({"segment": "Start a run", "seg_dataset": "folder"}, "seg_", "segment-start"),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of photos of 24 x 32 pixels, and some of another shape."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(15):
        shape = (24, 32, 3) if number > 3 else (32, 24, 3)
        pixels = np.random.default_rng(number).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def open_form(open_page: Any, photos: Path) -> Any:
    """Return page -> its form, filled in with a folder of photos, the switch on."""

    def opened(page: str, **query: str) -> Any:
        fixed, prefix, _ = FORMS[page]
        given = {f"{prefix}dataset": "folder", f"{prefix}folder": str(photos)} | query
        at = open_page(page, **fixed | given)
        return at if query else at.toggle(key=f"{prefix}region_wanted").set_value(True).run()

    return opened


def mark(at: Any, page: str, shapes: list[Any]) -> Any:
    at.session_state[f"{FORMS[page][1]}region"] = {"marks": {"shapes": shapes, "swapped": False}}
    return at.run()


@pytest.mark.parametrize("page", FORMS)
def test_what_is_marked_goes_into_the_run(open_form: Any, open_page: Any, page: str, runs_dir: Path) -> None:
    """A mark that no run hears of, or that is gone once the run waits; a reload that forgets it."""
    at = open_form(page)
    (board,) = component_data(at, "panda_region")
    assert "all of the picture counts" in board["words"]
    (board,) = component_data(mark(at, page, [LEFT_HALF]), "panda_region")
    assert board["words"].startswith("50 % of the picture counts. Of ") and "in another shape" in board["words"]
    _, prefix, button = FORMS[page]
    kept = at.query_params[f"{prefix}region"]
    reloaded = open_form(page, **{f"{prefix}region": kept[0] if isinstance(kept, list) else kept})
    assert reloaded.toggle(key=f"{prefix}region_wanted").value is True
    at.button(key=button).click().run()
    assert not at.exception
    (made,) = runs_dir.glob("2*")
    marked = read_region(str(made / "roi.png")).marked
    assert marked[:, :16].all() and not marked[:, 16:].any()
    for file in (runs_dir / "uploads").glob("*/roi.png"):
        file.unlink()
    shown = open_page("settings", run=made.name)
    assert not shown.exception
    table = shown.dataframe[0].value.set_index("Setting")["Value"]
    assert table["Region of interest"] == "50 % of the picture counts."
    if page == "adapt":
        again = open_form(page, region=made.name)
        (board,) = component_data(again, "panda_region")
        assert board["words"].startswith("50 %") and not again.button(key="start").disabled


def test_refusals_are_one_sentence(open_form: Any, runs_dir: Path) -> None:
    """A region in another shape that is stretched; one of nothing; one that no image of another data set fits."""
    at = open_form("adapt")
    held = io.BytesIO()
    Image.fromarray(np.full((24, 32), 255, np.uint8)).save(held, "PNG")
    at.file_uploader(key="region-file").set_value([("white.png", held.getvalue(), "image/png")]).run()
    assert any("marks everything" in str(error.value) for error in at.error)
    mark(at, "adapt", [LEFT_HALF])
    assert not at.button(key="start").disabled
    at.selectbox(key="dataset").select("digits").run()
    at.session_state["region"] = {"marks": {"shapes": [LEFT_HALF, LEFT_HALF], "swapped": False}}
    at.run()
    assert not at.button(key="start").disabled  # marked anew, on a digit
    at.toggle(key="region_wanted").set_value(False).run()
    assert not list((runs_dir / "uploads").glob("*/roi.png")) and "region" not in at.query_params


def test_a_brought_region_that_fits_no_image_is_refused(open_form: Any, photos: Path) -> None:
    """A run that leaves out every image, found an hour later."""
    at = open_form("adapt")
    mask, held = np.zeros((48, 64), np.uint8), io.BytesIO()
    mask[:20] = 255
    Image.fromarray(mask).save(held, "PNG")
    at.file_uploader(key="region-file").set_value([("mask.png", held.getvalue(), "image/png")]).run()
    assert not at.button(key="start").disabled
    at.selectbox(key="dataset").select("digits").run()
    assert at.button(key="start").disabled
    assert any("none of 30 images looked at is in that shape" in str(told.value) for told in at.warning)


def test_a_card_begins_without_a_region(open_form: Any) -> None:
    """A card whose curve is that of a part of the pictures."""
    at = mark(open_form("adapt"), "adapt", [LEFT_HALF])
    at.button(key="preset-gentle").click().run()
    assert at.toggle(key="region_wanted").value is False and not component_data(at, "panda_region")
    assert "region" not in at.query_params


def test_a_form_that_is_opened_anew_has_the_region_of_its_address(
    open_form: Any, open_page: Any, make_run: Any
) -> None:
    """A run "again" in which a part counts that was marked before, for other images; or all, where a part did."""
    at = mark(open_form("adapt"), "adapt", [LEFT_HALF])
    right = np.zeros((8, 8), np.uint8)
    right[:, 6:] = 255
    whole, part = make_run(), make_run()
    Image.fromarray(right).save(part.path / "roi.png")
    for run, asked, words in ((part, part.run_id, "25 %"), (whole, "", "")):
        at.switch_page("pages/runs.py").run()
        at.query_params.clear()
        if asked:
            at.query_params["region"] = asked
        at.switch_page("pages/adapt.py").run()
        assert at.toggle(key="region_wanted").value == bool(words), run.run_id
        assert [board["words"][:4] for board in component_data(at, "panda_region")] == [words] * bool(words)


def test_a_data_set_is_checked_inside_of_a_region(open_page: Any, tmp_path: Path) -> None:
    """A set that is called fit, of which a run within the region then says that training and test images are equal."""
    pixels = np.random.default_rng(0).integers(0, 255, (50, 24, 32, 3), dtype=np.uint8)
    pixels[40:, :, :16] = pixels[:10, :, :16]
    for row, picture in enumerate(pixels):
        folder = tmp_path / "own" / ("train/good" if row < 25 else "test/good" if row < 45 else "test/bad")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{row:02d}.png")

    def told(at: Any) -> list[str]:
        at.button(key="data-check").click().run()
        assert not at.exception
        return [
            str(box.value) for box in (*at.error, *at.warning) if "in the training and in the test set" in box.value
        ]

    at = open_page("data", data_dataset="folder", data_folder=str(tmp_path / "own"))
    assert not told(at)
    at.toggle(key="data_region_wanted").set_value(True).run()
    at.session_state["data_region"] = {"marks": {"shapes": [LEFT_HALF], "swapped": False}}
    assert told(at.run()) and any("inside the region" in text.value for text in at.markdown)
    (way,) = [link.proto.query_string for link in at.get("page_link") if link.proto.label == "Adapt to this class"]
    kept = at.query_params["data_region"]
    assert dict(parse_qsl(way))["region"] == (kept[0] if isinstance(kept, list) else kept)
    at.toggle(key="data_region_wanted").set_value(False).run()
    assert not told(at)


def test_rivals_look_at_the_same_part(tmp_path: Path) -> None:
    """A race in which one recipe sees the whole picture."""
    from pages.shared.adapt.rivals import rivals_of
    from panda_core.runs.kinds import resolve

    marked = np.zeros((8, 8), np.uint8)
    marked[:4] = 255
    Image.fromarray(marked).save(tmp_path / "roi.png")
    config = RunConfig(roi=str(tmp_path / "roi.png"), runs_dir=str(tmp_path / "runs"))
    made = [RunFolder.create(resolve(one)) for one in rivals_of(config, ["panda-ses"])]
    assert {folder.config().roi.partition("=")[2] for folder in made} == {made[0].config().roi.partition("=")[2]}
    assert all((folder.path / "roi.png").is_file() for folder in made)
