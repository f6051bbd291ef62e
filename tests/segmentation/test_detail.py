"""What is left of a photo's detail: figures in the photo's own pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from panda_core.segmentation.detail import SEEN, detail_of, tiles_note


@pytest.mark.parametrize(
    ("photo", "size", "narrowest", "cell"),
    [((3000, 2000), 224, 5, 108), ((2000, 3000), 224, 5, 108), ((3000, 2000), 448, 3, 54), ((224, 224), 224, 1, 8)],
)
def test_figures_worked_out_by_hand(photo: tuple[int, int], size: int, narrowest: int, cell: int) -> None:
    """A figure in pixels of the network, or of the shorter side, which promises too much."""
    detail = detail_of(photo, size)
    assert (detail.narrowest, detail.cell) == (narrowest, cell)
    assert f"{narrowest} px of the photo" in detail.sentence() or narrowest == 1
    assert f"cells of {cell} px" in detail.sentence() and "cells" not in detail.sentence(maps=False)


@pytest.mark.parametrize(
    ("tiles", "narrowest", "cell", "times"), [("2", 3, 63, 4), ("4", 2, 35, 12), ("16", 1, 10, 176)]
)
def test_tiles_make_more_visible_and_say_what_they_cost(tiles: str, narrowest: int, cell: int, times: int) -> None:
    """A figure of the whole photo for one in tiles; a cost that is told too low."""
    detail = detail_of((3000, 2000), 224, tiles=tiles)
    assert (detail.narrowest, detail.cell, detail.times) == (narrowest, cell, times)
    note = tiles_note((2000, 3000), 224, tiles)
    assert note.startswith(detail.sentence()) and f"in {tiles} × " in note and f"up to {times} times" in note
    assert "Tiles would enlarge them" in tiles_note((150, 200), 224, "off")


def test_a_small_photo_loses_nothing() -> None:
    """A warning that photos which are enlarged lose detail."""
    assert "lost" not in detail_of((64, 48), 224).sentence() and detail_of((64, 48), 224).narrowest == 1


def test_a_narrower_line_leaves_less_than_the_share_that_was_measured() -> None:
    """A figure that has nothing to do with what a network is given: the contrast that scaling leaves of a line."""
    photo = np.zeros((3000, 3000), np.uint8)
    width = detail_of((3000, 3000), 224).narrowest
    photo[:, 1500 : 1500 + width] = 255
    left = np.asarray(Image.fromarray(photo).resize((224, 224), Image.Resampling.BOX))
    assert int(left.sum(axis=1)[0]) / 255 == pytest.approx(width / (3000 / 224), rel=0.1)
    assert SEEN <= int(left.sum(axis=1)[0]) / 255 <= 1.3 * SEEN
