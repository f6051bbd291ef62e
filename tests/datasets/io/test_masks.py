"""Masks in files: what counts as marked, as empty and as unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import FileMasks
from panda_core.errors import PandaError, UnreadableImage


def saved(path: Path, pixels: object) -> str:
    Image.fromarray(np.array(pixels, dtype=np.uint8)).save(path)
    return str(path)


def test_soft_masks_are_cut_in_the_middle(tmp_path: Path) -> None:
    """Guards: every pixel above 0 taken as defective, which widens a smoothed mask; 127 on the wrong side."""
    path = saved(tmp_path / "a.png", [[0, 1, 127, 128, 255]])
    mask = FileMasks([path], [False]).load(0)
    assert mask is not None and mask.dtype == bool
    assert mask.tolist() == [[False, False, False, True, True]]


def test_a_mask_in_colour_marks_too(tmp_path: Path) -> None:
    """Guards: a defect painted in red lost, because red is dark when turned to grey."""
    mask = FileMasks([saved(tmp_path / "a.png", [[[255, 0, 0], [0, 0, 0]]])], [False]).load(0)
    assert mask is not None and mask.tolist() == [[True, False]]


def test_empty_unknown_and_clean_are_three_things(tmp_path: Path) -> None:
    """Guards: a defect nobody marked measured as if the image were clean; a clean image left out of the measure."""
    black = saved(tmp_path / "black.png", np.zeros((4, 3)))
    white = saved(tmp_path / "white.png", np.full((4, 3), 255))
    masks = FileMasks([black, None, None, white], [False, False, True, True])
    assert masks.load(0) is None and masks.load(1) is None
    for row in (2, 3):
        clean = masks.load(row)
        assert clean is not None and clean.dtype == bool and clean.ndim == 2 and not clean.any()


def test_subsets_keep_their_order(tmp_path: Path) -> None:
    """Guards: masks sorted, or taken by place in the whole set, after a subset of a subset."""
    paths = [saved(tmp_path / f"{width}.png", np.full((1, width), 255)) for width in range(1, 6)]
    part = FileMasks([*paths, None], [False] * 6).subset(np.array([5, 4, 1, 1])).subset([0, 1, 3])
    assert len(part) == 3 and part.load(0) is None
    assert [mask.shape for mask in map(part.load, (1, 2)) if mask is not None] == [(1, 5), (1, 2)]


def test_bad_files_are_named(tmp_path: Path) -> None:
    """Guards: a broken mask, or one of values 0 and 1, that counts as unknown without a word."""
    (tmp_path / "broken.png").write_bytes(b"no image")
    faint = saved(tmp_path / "faint.png", [[0, 1]])
    masks = FileMasks([str(tmp_path / "broken.png"), faint, str(tmp_path / "gone.png")], [False] * 3)
    for row, sentence in enumerate(
        ("broken.png` cannot be read", "faint.png` is too dark .* is 1,", "gone.png` cannot")
    ):
        with pytest.raises(UnreadableImage, match=sentence):
            masks.load(row)
    with pytest.raises(PandaError, match="3 masks need"):
        FileMasks([None] * 3, [True])
