"""Maps as pictures: one over its image, and all of them as the film of the time machine."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.figures import MapsAt, followed_figure, legend_figure, map_film, picture_figure
from panda_core.figures.heatmaps import (
    Region,
    Scale,
    boxed,
    coloured,
    colourscale,
    contoured,
    fitted,
    fixed_scale,
    framed,
    heated,
    marked,
    own_scale,
    regions,
    shaded,
)

GREY = np.full((40, 60, 3), 128, np.uint8)


def square_map(size: int = 20) -> np.ndarray:
    """Return a map of 0 with a square of 2 in its lower right quarter."""
    values = np.zeros((size, size), np.float32)
    values[size // 2 :, size // 2 :] = 2
    return values


def test_the_end_of_normal_maps_is_the_middle_of_the_scale() -> None:
    """A middle that looks like any other value: the ends must be equally far away."""
    scale = fixed_scale(1.0, 1.5, np.full((2, 4, 4), 9.0))
    assert scale.low == 1.0 and scale.calibrated
    assert scale.high - scale.middle == pytest.approx(scale.middle - scale.low) and scale.middle == 1.5
    np.testing.assert_allclose(scale.positions(np.array([scale.low, 1.5, scale.high, 99, -9])), [0, 0.5, 1, 1, 0])


@pytest.mark.parametrize(
    ("grids", "low", "middle"),
    [
        (np.ones((2, 3, 3)), 1.0, 1.0),
        (np.ones((2, 3, 3)), None, None),
        (np.empty((0, 3, 3)), None, None),
        (np.ones((1, 2, 2)), 1.0, 0.5),
    ],
)
def test_scale_of_maps_without_spread(grids: np.ndarray, low: float | None, middle: float | None) -> None:
    """A division by nothing where all maps are constant, or where there are none."""
    scale = fixed_scale(low, middle, grids)
    assert scale.calibrated == (low is not None)
    assert scale.low < scale.middle < scale.high
    assert np.isfinite(scale.positions(np.linspace(-1, 3, 9))).all()


def test_colours_are_calm_below_and_warm_above() -> None:
    """Normal images that glow, or a threshold that cannot be seen: opacity only grows, blue turns to red."""
    colours = coloured(np.linspace(0, 2, 101)[None], Scale(0.0, 1.0, 2.0))[0].astype(int)
    red, blue, opacity = colours[:, 0], colours[:, 2], colours[:, 3]
    assert opacity[0] == 0 and opacity[-1] == 255 and (np.diff(opacity) >= 0).all()
    assert (blue[:45] > red[:45]).all() and (red[55:] > blue[55:]).all()


def test_colours_are_told_apart_without_seeing_red_or_green() -> None:
    """A scale that the colour-blind cannot read: seen by a deuteranope, its two halves must stay far apart."""
    seen = coloured(np.array([[0.7, 1.6]]), Scale(0.0, 1.0, 2.0))[0, :, :3].astype(float)
    deuteranope = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])  # Machado 2009
    assert np.linalg.norm(deuteranope @ (seen[0] - seen[1])) > 100


def test_own_scale_makes_normal_images_hot() -> None:
    """A switch that does not show the mistake it is there to show."""
    values = np.random.default_rng(0).normal(1, 0.01, (20, 20)).astype(np.float32)
    fixed = heated(GREY, values, fixed_scale(1.0, 1.5, values[None]))
    own = heated(GREY, values, own_scale(values))
    changed = [np.abs(picture.astype(int) - GREY).max() for picture in (fixed, own)]
    assert changed[0] < 15 < 80 < changed[1]


def test_a_map_lies_over_the_whole_image() -> None:
    """A map that is cropped, flipped or transposed on an image that is not square."""
    large = fitted(square_map(), GREY)
    assert large.shape == (40, 60)
    assert large[30, 45] == 2 and large[5, 55] == 0 and large[35, 5] == 0
    picture = heated(GREY, square_map(), Scale(0.0, 1.0, 2.0), opacity=1.0)
    assert (picture[5, 5] == 128).all() and picture[35, 55].tolist() == [122, 16, 12]
    assert (heated(GREY, square_map(), Scale(0.0, 1.0, 2.0), opacity=0.0) == GREY).all()


def test_drawings_at_the_threshold() -> None:
    """A contour, mask or box somewhere else than where the map crosses the threshold."""
    inside, outside = (35, 50), (8, 10)
    mask = shaded(GREY, square_map(), 1.0, opacity=1.0)
    assert (mask[outside] == 128).all() and not (mask[inside] == 128).all()
    for draw in (contoured, boxed):
        picture = draw(GREY, square_map(), 1.0)
        rows, columns = np.nonzero((picture != 128).any(axis=2))
        assert (picture[outside] == 128).all() and (picture[27, 40] == 128).all()
        assert 15 <= rows.min() <= 21 and 25 <= columns.min() <= 31
        assert (draw(GREY, square_map(), 5.0) == GREY).all()
    assert (GREY == 128).all(), "the image itself was drawn on"


def test_regions_are_connected_and_sorted() -> None:
    """Two defects in one box, or one that touches at a corner in two."""
    values = np.zeros((10, 10), np.float32)
    values[0:2, 0:2] = values[2:6, 2:6] = values[8:, 8:] = 1
    assert regions(values, 0.5) == [(0, 0, 6, 6, 20), (8, 8, 2, 2, 4)]
    assert regions(values, 1.0) == []


def test_a_region_in_a_larger_picture_stays_within_it() -> None:
    """A box that reaches beyond the rim of the photo, or one of no pixel."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        side, height, width = (int(value) for value in rng.integers(1, 300, 3))
        left, top = (int(value) for value in rng.integers(0, side, 2))
        region = Region(left, top, int(rng.integers(1, side - left + 1)), int(rng.integers(1, side - top + 1)), 1)
        found = region.scaled(width / side, height / side)
        assert found.width >= 1 and found.height >= 1 and found.area >= 1
        if region.width * width >= side and region.height * height >= side:
            assert found.left + found.width <= width and found.top + found.height <= height


def test_truth_of_another_size() -> None:
    """A mask that was stored smaller than its image, or as a single pixel."""
    mask = np.zeros((4, 6), bool)
    mask[2:, 3:] = True
    rows, columns = np.nonzero((marked(GREY, mask) != 128).any(axis=2))
    assert 15 <= rows.min() <= 21 and 25 <= columns.min() <= 31
    assert (marked(GREY, np.zeros((1, 1), bool)) == GREY).all()


def test_frame_stays_inside() -> None:
    """A frame at the border of which half is missing."""
    picture = framed(GREY, (50.0, 30.0, 60.0, 40.0))
    assert (picture[39, 55] != 128).any() and (picture[35, 59] != 128).any() and (picture[35, 55] == 128).all()


def test_picture_has_a_point_for_every_patch() -> None:
    """A click that chooses another patch than the one under the pointer, or a picture that is stretched."""
    grid = np.arange(12, dtype=float).reshape(3, 4)
    drawn = spec(picture_figure(GREY, grid, (1, 2)))
    (points,) = drawn["data"]
    assert points["customdata"][6] == [1, 2] and (points["x"][6], points["y"][6]) == (2.5, 1.5)
    assert points["text"][6].startswith("row 2, column 3: 6.00")
    assert drawn["layout"]["yaxis"]["range"] == [3, 0]
    # 40 / 3 pixels of height to 60 / 4 of width
    assert drawn["layout"]["yaxis"]["scaleratio"] == pytest.approx((40 / 3) / (60 / 4))
    assert {(shape["x0"], shape["y0"]) for shape in drawn["layout"]["shapes"]} == {(2, 1)}
    stored = base64.b64decode(drawn["layout"]["images"][0]["source"].split(",")[1])
    assert Image.open(io.BytesIO(stored)).size == (60, 40)


def test_legend_has_numbers_and_where_normal_maps_end() -> None:
    """A legend without numbers; a middle that is claimed where there is none; a peak outside of the chart."""
    drawn = spec(legend_figure(Scale(1.0, 1.5, 2.0), peak=7.0))
    assert drawn["layout"]["xaxis"]["ticktext"] == ["1.00", "1.50", "≥ 2.00"]
    assert drawn["layout"]["annotations"][0]["text"] == "normal maps end"
    assert drawn["data"][1]["x"] == [2.0]
    assert drawn["data"][0]["colorscale"] == colourscale()
    without = spec(legend_figure(Scale(1.0, 1.5, 2.0, calibrated=False)))
    assert not without["layout"].get("annotations") and len(without["data"]) == 1


def test_an_image_over_the_steps() -> None:
    """A curve that starts above 0, so that small changes look large."""
    drawn = spec(followed_figure([0, 10], [2.0, 2.1], [1.5, None], 10))
    assert drawn["layout"]["yaxis"]["range"][0] == 0 and drawn["data"][0]["y"] == [2.0, 2.1]
    assert drawn["data"][0]["line"]["dash"] != drawn["data"][1]["line"]["dash"]


def spec(figure: Any) -> dict[str, Any]:
    return json.loads(figure.to_json())  # type: ignore[no-any-return]


SIZE, GRID = 36, 4  # nine pixels for each patch: one lies at its center


def maps_at(size: float = 1.0, hot: float = 3.0, held_out: int = 30) -> MapsAt:
    """Return maps of two images whose values all have this size: a calm one, and one with a hot patch at (1, 2)."""
    rng = np.random.default_rng(0)
    grids = rng.uniform(0.9, 1.1, (2, GRID, GRID))
    grids[1, 1, 2] = hot
    normal = rng.uniform(0.8, 1.2, (held_out, GRID, GRID))
    low, middle = (size * np.median(normal), size * normal.max()) if held_out else (None, None)
    return MapsAt(size * grids, size * grids.max(axis=(1, 2)), size * normal, low, middle)


def film_of(*moments: MapsAt | None, sigma: float = 0.0) -> dict[str, Any]:
    return map_film(moments, size=SIZE, sigma=sigma)


def values_of(film: dict[str, Any], place: int) -> np.ndarray:
    """Return the bytes of a step as (images, side, side)."""
    raw = np.frombuffer(base64.b64decode(film["maps"][place]), np.uint8)
    return raw.reshape(-1, film["side"], film["side"])


def test_a_collapse_does_not_cool_the_maps() -> None:
    """A defect that fades because all distances shrink, or a middle that is the one of another unit."""
    film = film_of(maps_at(), maps_at(0.01), maps_at(1e-6))
    assert film["maps"][0] == film["maps"][1] == film["maps"][2]
    assert film["peaks"][0] == pytest.approx(film["peaks"][2], rel=1e-2)
    assert film["calibrated"] and max(film["peaks"][0][:1]) < film["middle"] < film["peaks"][0][1]
    assert json.loads(json.dumps(film)) == film


def test_one_scale_serves_all_steps() -> None:
    """Colours stretched anew at each step: what grows hotter would look the same."""
    film = film_of(maps_at(hot=1.5), maps_at(hot=6.0))
    first, later = values_of(film, 0), values_of(film, 1)
    assert 255 == later[1, 1, 2] > first[1, 1, 2] > 128  # above the middle of the bytes
    assert np.array_equal(first[0], later[0])
    assert film["high"] == pytest.approx(film["peaks"][1][1], rel=1e-2)
    calm = film_of(maps_at(hot=1.0))  # without anomalies there is no reason to stretch
    assert calm["high"] - calm["middle"] == pytest.approx(calm["middle"] - calm["low"])


def test_bytes_are_positions_on_the_scale_and_have_its_colours() -> None:
    """A patch drawn in the place or the colour of another."""
    film = film_of(maps_at())
    held = maps_at().held_out_grids
    scale = Scale(film["low"], film["middle"], film["high"])
    values = maps_at().grids / held.mean()
    assert np.abs(values_of(film, 0) - 255 * scale.positions(values)).max() < 1
    colours = np.frombuffer(base64.b64decode(film["colours"]), np.uint8).reshape(256, 4)
    ends = coloured(np.array([[scale.low, scale.middle, scale.high]]), scale)[0]
    assert np.abs(colours[[0, 128, 255]].astype(int) - ends).max() <= 4  # 128 is not quite the middle


def test_the_blur_of_the_full_map_is_seen() -> None:
    """A film sharper than the maps of the Segment page, above a middle that those do not reach."""
    sharp, soft = (values_of(film_of(maps_at(hot=1.3), maps_at(hot=9.0), sigma=sigma), 0)[1] for sigma in (0.0, 40.0))
    assert soft.max() < sharp.max() and np.ptp(soft.astype(int)) < np.ptp(sharp.astype(int))


def test_steps_without_maps_and_runs_without_normals_held_out() -> None:
    """A film that stands still where a step is missing; a middle invented where no image was held out."""
    film = film_of(None, maps_at(), None)
    assert [found is None for found in film["maps"]] == [True, False, True] == [p is None for p in film["peaks"]]
    assert film_of(None, None) == {}
    bare = film_of(maps_at(held_out=0))
    assert not bare["calibrated"] and bare["low"] < bare["middle"] < bare["high"]


def test_maps_of_a_collapse_to_nothing() -> None:
    """A division by zero, or a NaN in JSON, where all features have become the same point."""
    film = film_of(maps_at(), maps_at(0.0), maps_at(np.nan))
    assert json.loads(json.dumps(film, allow_nan=False)) == film
    assert values_of(film, 1).max() == 0


def test_of_many_patches_the_hottest_around_can_be_chosen() -> None:
    """Twenty thousand points that stop a browser; a hot patch that no click reaches, or a click on another place."""
    grid = np.random.default_rng(0).random((60, 88)).astype(np.float32)
    points = picture_figure(np.zeros((600, 880, 3), np.uint8), grid, (0, 0)).data[0]
    patches = np.array(points.customdata)
    assert len(patches) == 30 * 44 and np.array_equal(np.array(points.x) - 0.5, patches[:, 1])
    assert grid.argmax() in patches @ [88, 1]
    for row, column in patches[::97]:
        assert grid[row, column] == grid[row // 2 * 2 :, column // 2 * 2 :][:2, :2].max()
