"""Maps as a file to take away."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pages.conftest import as_downloaded


def test_archive_holds_maps_and_a_harmless_table(make_maps: Any) -> None:
    """Maps that are not those of the run; a name that a spreadsheet computes."""
    from pages.shared.segment.archive import maps_zipped
    from pages.shared.segment.maps import view_of
    from panda_core.records import plain_cell
    from panda_core.runs.loaded import LoadedRun

    view = view_of(LoadedRun(make_maps()), 0)
    with maps_zipped(view) as file, zipfile.ZipFile(io.BytesIO(as_downloaded(file))) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("scores.csv").decode())))
        kept = np.load(io.BytesIO(archive.read("maps/0003.npy")), allow_pickle=False)
        picture = Image.open(io.BytesIO(archive.read("overlays/0003.png")))
        assert picture.size == (480, 480)
    assert len(rows) == len(view.maps.scores)
    np.testing.assert_allclose(kept, view.maps.full(3), atol=2e-3)
    assert float(rows[3]["score"]) == pytest.approx(view.maps.scores[3], rel=1e-5)
    assert plain_cell("=1+1") == "'=1+1" and plain_cell("@x").startswith("'") and plain_cell("cell.png") == "cell.png"
