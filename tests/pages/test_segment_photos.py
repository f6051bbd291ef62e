"""Photos of one's own on the Segment page: kept, learned from, checked; and maps as a file to take away."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def test_archive_holds_maps_and_a_harmless_table(make_maps: Any) -> None:
    """Maps that are not those of the run; a name that a spreadsheet computes."""
    from pages.shared.segment_archive import maps_zipped
    from pages.shared.segment_maps import view_of
    from panda_core.records import plain_cell
    from panda_core.runs.loaded import LoadedRun

    view = view_of(LoadedRun(make_maps()), 0)
    with maps_zipped(view) as file, zipfile.ZipFile(file) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("scores.csv").decode())))
        kept = np.load(io.BytesIO(archive.read("maps/0003.npy")), allow_pickle=False)
        picture = Image.open(io.BytesIO(archive.read("overlays/0003.png")))
        assert picture.size == (480, 480)
    assert len(rows) == len(view.found.scores)
    np.testing.assert_allclose(kept, view.found.full(3), atol=2e-3)
    assert float(rows[3]["score"]) == pytest.approx(view.found.scores[3], rel=1e-5)
    assert plain_cell("=1+1") == "'=1+1" and plain_cell("@x").startswith("'") and plain_cell("cell.png") == "cell.png"


def test_normal_photos_become_a_run(open_page: Any, runs_dir: Path, tmp_path: Path) -> None:
    """Bad files among good ones that stop everything; a photo's own name, or place, that is kept in its file."""
    at = open_page("segment", segment="my own photos")
    assert at.button(key="segment-teach").disabled
    files = [(f"*{number}*.png", png(number), "image/png") for number in range(5)]
    at.file_uploader(key="segment_normals").set_value([*files, ("<b>.png", b"no image", "image/png")]).run()
    at.button(key="segment-teach").click().run()
    assert not at.exception
    (made,) = runs_dir.iterdir()
    folder = Path(json.loads((made / "config.json").read_text())["dataset"].removeprefix("folder:"))
    assert folder.name == "good" and folder.parents[1] == tmp_path / "data" / "uploads"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{number:04d}.png" for number in range(5)]
    assert any(warning.value.startswith(r"\<b\>.png was left out") for warning in at.warning)


def test_too_few_readable_photos(open_page: Any, runs_dir: Path) -> None:
    """A run that is started on photos nobody can read."""
    at = open_page("segment", segment="my own photos")
    bad = [(f"{number}.png", b"no image", "image/png") for number in range(5)]
    at.file_uploader(key="segment_normals").set_value(bad).run()
    at.button(key="segment-teach").click().run()
    assert any("Only 0" in error.value for error in at.error)
    assert not runs_dir.exists()


def test_photos_are_checked(open_page: Any, make_maps: Any) -> None:
    """A check whose maps belong to other photos; a wait that never ends."""
    from panda_core.records import write_arrays, write_json
    from panda_core.runs.loaded import LoadedRun

    folder = make_maps()
    (folder.path / "banks").mkdir()
    at = open_page("segment", segment="my own photos", run=folder.run_id)
    at.file_uploader(key="segment_others").set_value([(f"{name}.png", png(3), "image/png") for name in "ab"]).run()
    at.button(key="segment-check").click().run()
    assert not at.exception
    (output,) = (folder.path / "checks").iterdir()
    maps = LoadedRun(folder).maps(0)
    kept = {name: maps[name][:2] for name in maps if name != "held_out_grids"}
    write_arrays(output / "maps.npz", kept | {"names": np.array(["0000.png", "0001.png"])})
    row = {"percentile": 50.0, "verdict": "normal", "map_percentile": 50.0}
    rows = [row | {"path": f"000{place}.png", "score": 2.5 - place, "peak": 2.0, "map_row": place} for place in (0, 1)]
    write_json(output / "result.json", {"rows": rows, "error": ""})
    at = open_page("segment", segment="my own photos", run=folder.run_id, check=output.name)
    assert list(at.dataframe[0].value["Photo"]) == ["a.png", "b.png"]
    assert any("a.png" in markdown.value for markdown in at.markdown)
    assert len(at.get("plotly_chart")) == 2
    write_json(output / "result.json", {"rows": [], "error": "The bank is gone."})
    at = open_page("segment", segment="my own photos", run=folder.run_id, check=output.name)
    assert any("The bank is gone" in error.value for error in at.error)


@pytest.mark.parametrize("token", ["../..", "unknown", "%2e%2e", "a/b"])
def test_unknown_check_is_a_friendly_sentence(token: str, open_page: Any, make_maps: Any) -> None:
    """A made-up address that reads files outside of the run."""
    folder = make_maps()
    (folder.path.parent.parent / "result.json").write_text('{"rows": [], "error": "outside"}')
    at = open_page("segment", segment="my own photos", run=folder.run_id, check=token)
    assert any("no check" in info.value for info in at.info)
    assert not at.error


def png(seed: int) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 30, 3), dtype=np.uint8)).save(held, "PNG")
    return held.getvalue()
