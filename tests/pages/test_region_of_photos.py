"""The part of dropped photos that counts: marked, kept, brought, and taken along by what is learned."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets.io.regions import read_region
from panda_core.figures.strokes import Shapes, marked_by, shapes_of
from panda_core.region import Region
from panda_core.runs.uploads import Upload, keep_upload
from tests.pages.conftest import component_data

LEFT_HALF = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


def dropped(shapes: list[tuple[int, int]]) -> Upload:
    """Return an upload of photos of these (height, width)."""
    sources = []
    for number, shape in enumerate(shapes):
        held = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 255, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(held, "PNG")
        sources.append(("normal", f"{number}.png", io.BytesIO(held.getvalue())))
    return keep_upload(sources)


def mark(at: Any, upload: Upload, shapes: list[Any], swapped: bool = False) -> Any:
    at.session_state[f"region-{upload.token}"] = {"marks": {"shapes": shapes, "swapped": swapped}}
    return at.run()


def kept(upload: Upload) -> np.ndarray:
    return read_region(str(upload.path / "roi.png")).marked


def test_what_is_marked_is_learned_from(open_page: Any, runs_dir: Path) -> None:
    """Marks that are drawn and then forgotten; a run on whole photos; a switch that does nothing."""
    upload = dropped([(24, 30)] * 8 + [(30, 24)])
    at = open_page("own_images", upload=upload.token)
    assert not component_data(at, "panda_region")
    at.toggle(key=f"region-{upload.token}_wanted").set_value(True).run()
    (board,) = component_data(at, "panda_region")
    assert "all of the picture counts" in board["words"] and not board["kept"]
    (board,) = component_data(mark(at, upload, [LEFT_HALF]), "panda_region")
    assert board["words"] == "50 % of the picture counts. 1 photo in another shape will be left out."
    assert kept(upload)[:, :15].all() and not kept(upload)[:, 15:].any() and board["kept"].startswith("data:image")
    mark(at, upload, [LEFT_HALF], swapped=True)
    assert kept(upload)[:, 15:].all() and not kept(upload)[:, :15].any()
    at.toggle(key=f"region-{upload.token}_wanted").set_value(False).run()
    assert not (upload.path / "roi.png").exists()
    at.toggle(key=f"region-{upload.token}_wanted").set_value(True).run()
    assert kept(upload)[:, 15:].all()
    at.button(key="own-learn").click().run()
    assert not at.exception
    (made,) = runs_dir.glob("2*")
    assert json.loads((made / "config.json").read_text())["roi"].startswith("roi.png#sha256=")
    assert (read_region(str(made / "roi.png")).marked == kept(upload)).all()


def test_a_region_is_there_after_a_reload(open_page: Any, runs_dir: Path) -> None:
    """A region that counts and is not shown; one that cannot be taken away."""
    upload = dropped([(24, 30)] * 8)
    mask = np.zeros((48, 60), bool)
    mask[:24] = True
    Image.fromarray(mask).save(upload.path / "roi.png")
    at = open_page("own_images", upload=upload.token)
    assert at.toggle(key=f"region-{upload.token}_wanted").value is True
    (board,) = component_data(at, "panda_region")
    assert board["words"] == "50 % of the picture counts." and board["shapes"] == [] and board["kept"]
    mark(at, upload, [])  # cleared
    assert not (upload.path / "roi.png").exists()


@pytest.mark.parametrize(
    ("shape", "value", "told"),
    [((30, 24), 200, "not the same shape"), ((24, 30), 0, "marks nothing"), ((48, 60), 200, "")],
)
def test_a_picture_of_it_can_be_brought(
    open_page: Any, runs_dir: Path, shape: tuple[int, int], value: int, told: str
) -> None:
    """A picture of another shape that is stretched; marks of before that come back over it."""
    upload, held = dropped([(24, 30)] * 8), io.BytesIO()
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 4] = value
    Image.fromarray(mask).save(held, "PNG")
    at = open_page("own_images", upload=upload.token)
    at.toggle(key=f"region-{upload.token}_wanted").set_value(True).run()
    mark(at, upload, [LEFT_HALF])
    at.file_uploader(key=f"region-{upload.token}-file").set_value([("mask.png", held.getvalue(), "image/png")]).run()
    if told:
        assert any(told in str(error.value) for error in at.error) and kept(upload).mean() == 0.5
        return
    (board,) = component_data(at, "panda_region")
    assert board["words"] == "25 % of the picture counts." and board["shapes"] == [] and board["version"] == 1
    mark(at, upload, [LEFT_HALF, LEFT_HALF])
    assert kept(upload).mean() == 0.5


def test_marks_of_everything_are_told(open_page: Any, runs_dir: Path) -> None:
    """A region of all of the picture, with which nothing can be learned."""
    upload = dropped([(24, 30)] * 8)
    at = open_page("own_images", upload=upload.token)
    at.toggle(key=f"region-{upload.token}_wanted").set_value(True).run()
    mark(at, upload, [[[0, 0], [1, 0], [1, 1], [0, 1]]])
    assert any("leaves all of the picture" in str(error.value) for error in at.error)
    assert not (upload.path / "roi.png").exists()


def test_shapes_of_a_browser() -> None:
    """A shape that is no shape, far outside or endless; a box that is a pixel too large."""
    sent = {"shapes": [LEFT_HALF, [[0, 0]], "no", [[0, 0], [2, 0], [2, "x"]], [[-5, 0.5], [9, 0.5], [9, 7]]]}
    shapes = shapes_of(sent)
    assert len(shapes.shapes) == 2 and not shapes.swapped and shapes.shapes[1][0] == (0.0, 0.5)
    assert shapes_of(None) == shapes_of({"shapes": 3}) == Shapes() and shapes_of({"swapped": True}).swapped
    half = marked_by(shapes_of({"shapes": [LEFT_HALF]}), (10, 20))
    assert half[:, :10].all() and not half[:, 10:].any()
    assert Region(half).sha256 != Region(~half).sha256
