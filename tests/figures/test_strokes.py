"""Strokes: whatever a browser sends, what is painted lies on the image, where it was drawn and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.figures.strokes import MOST_POINTS, MOST_STROKES, Stroke, painted, strokes_of

LINE = {"points": [[0.1, 0.5], [0.9, 0.5]], "colour": "#ff0000", "width": 0.1, "filled": False}
GREY = np.full((60, 100, 3), 128, np.uint8)


def test_a_line_is_where_it_was_drawn() -> None:
    """Axes swapped, colours as BGR, a width of the wrong side, an image that is painted over for good."""
    drawn = painted(GREY, strokes_of([LINE]))
    assert tuple(drawn[30, 50]) == (255, 0, 0) and (GREY == 128).all()
    changed = (drawn != GREY).any(axis=2)
    assert 9 <= changed[:, 50].sum() <= 13  # a tenth of the longer side, and its soft edges
    assert not changed[:20].any() and not changed[41:].any() and not changed[:, :3].any()


def test_a_blob_is_filled_and_a_click_is_a_dot() -> None:
    """A blob with a hole; a click that paints nothing."""
    square = {**LINE, "points": [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]], "width": 0.01, "filled": True}
    assert tuple(painted(GREY, strokes_of([square]))[30, 50]) == (255, 0, 0)
    dot = (painted(GREY, strokes_of([{**LINE, "points": [[0.5, 0.5]]}])) != GREY).any(axis=2)
    assert 60 <= dot.sum() <= 130 and dot[30, 50]


def test_later_strokes_lie_on_top_and_undo_brings_back() -> None:
    """An order turned round; what undo leaves behind."""
    strokes = strokes_of([LINE, {**LINE, "colour": "#00ff00"}])
    assert tuple(painted(GREY, strokes)[30, 50]) == (0, 255, 0)
    assert np.array_equal(painted(GREY, strokes[:0]), GREY)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "strokes",
        {"points": []},
        [None, 3, "x", []],
        [{**LINE, "points": [[float("nan"), 0]]}],
        [{**LINE, "points": [["a", 0]]}],
        [{**LINE, "points": [[0.1]]}],
        [{**LINE, "points": []}],
        [{**LINE, "colour": "red"}],
        [{**LINE, "colour": "#ff0000; x"}],
        [{**LINE, "width": 1e9}],
        [{**LINE, "width": -1}],
        [{**LINE, "width": "nan"}],
    ],
)
def test_nonsense_is_passed_over(sent: object) -> None:
    """A browser that sends anything, and a page that ends in an error."""
    assert strokes_of(sent) == []


def test_limits_hold() -> None:
    """A message that keeps the server painting for minutes; places outside of the image."""
    many = strokes_of([{**LINE, "points": [[-5, 7]] * (MOST_POINTS + 9)}] * (MOST_STROKES + 9))
    assert len(many) == MOST_STROKES and len(many[0].points) == MOST_POINTS and many[0].points[0] == (0.0, 1.0)
    assert painted(GREY, [Stroke(((1.0, 1.0),), "#000000", 0.5, False)]).shape == GREY.shape
