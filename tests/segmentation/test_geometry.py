"""Where cells lie, and maps read at other places: against slow twins, over drawn strides, offsets and sizes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panda_core.segmentation.geometry import (
    STRIDE,
    Cells,
    network_side,
    on_even_grid,
    read_maps,
    reading_weights,
)
from panda_core.segmentation.maps import drawing_weights, full_map

STRIDES = st.sampled_from([4.0, 8.0, 14.0, 16.0, 32.0])


@given(st.integers(16, 1024))
def test_a_network_looks_at_the_nearest_good_side(size: int) -> None:
    """A size off the stride handed to the network, or rounded further than it must be."""
    side = network_side(size)
    assert side % STRIDE == 0 and side >= STRIDE
    assert abs(side - size) <= STRIDE // 2
    assert network_side(side) == side


@given(st.lists(st.floats(-3, 12), min_size=1, max_size=6), st.integers(1, 9), st.integers(0, 100))
def test_reading_is_linear_between_centers(places: list[float], count: int, seed: int) -> None:
    """A map shifted by half a cell, or falling to 0 beyond its outermost centers."""
    values = np.random.default_rng(seed).random(count)
    found = reading_weights(np.array(places), count) @ values
    np.testing.assert_allclose(found, np.interp(places, np.arange(count), values), atol=1e-5)


@given(st.floats(1, 6.9), st.floats(1.1, 4.0))
def test_reading_of_finer_cells_is_their_mean(place: float, width: float) -> None:
    """Every second row of a finer level thrown away: a window's mean, against a sum over many small pieces."""
    values = np.random.default_rng(0).random(8)
    pieces = np.clip(place + width * ((np.arange(4000) + 0.5) / 4000 - 0.5), -0.499, 7.499)
    lies_inside = (place - width / 2 > -0.5) and (place + width / 2 < 7.5)
    if lies_inside:
        expected = values[np.round(pieces).astype(int)].mean()
        assert (reading_weights(np.array([place]), 8, width) @ values)[0] == pytest.approx(expected, abs=2e-3)


@given(STRIDES, st.floats(0.5, 1.0), st.tuples(st.floats(0, 1), st.floats(0, 1)), st.integers(64, 320))
@settings(max_examples=60)
def test_a_slope_is_read_where_it_is(stride: float, finer: float, phase: tuple[float, float], side: int) -> None:
    """Cells taken to divide the image evenly: a map of each cell's own place must give the place that was asked for."""
    cells = Cells(stride, (phase[0] * stride, phase[1] * stride))
    count = int(side // stride) + 1
    own = np.add.outer(cells.first[0] + stride * np.arange(count), 1000 * (cells.first[1] + stride * np.arange(count)))
    wanted = Cells(stride * finer, (side / 3, side / 4))
    number = max(1, int(side / 4 / wanted.stride))
    found = read_maps(own[None], cells, wanted, (number, number))[0]
    rows, columns = (wanted.first[axis] + wanted.stride * np.arange(number) for axis in (0, 1))
    np.testing.assert_allclose(found, np.add.outer(rows, 1000 * columns), rtol=1e-5)


def test_levels_come_to_lie_over_one_another() -> None:
    """Levels whose cells lean to different sides, drawn as if they did not: a dot would be at two places."""
    side = 128
    cells = [Cells(8.0, (0.5, 7.5)), Cells(16.0, (15.5, 0.5))]
    levels = []
    for place, count in zip(cells, (16, 8), strict=True):
        away = [place.first[axis] + place.stride * np.arange(count) - (70, 52)[axis] for axis in (0, 1)]
        levels.append(np.exp(-np.add.outer(away[0] ** 2, away[1] ** 2) / 2 / 24**2)[None])
    for found in on_even_grid(levels, cells, side):
        assert found.shape == (1, 16, 16)
        weights = found[0] ** 4  # of the middle of the bump, away from the border
        rows, columns = np.indices(weights.shape) * 8.0 + 4.0
        assert (weights * rows).sum() / weights.sum() == pytest.approx(70, abs=0.6)
        assert (weights * columns).sum() / weights.sum() == pytest.approx(52, abs=0.6)


@pytest.mark.parametrize(("count", "size"), [(7, 56), (12, 96), (14, 224)])
@pytest.mark.parametrize("sigma", [0.0, 4.0, 9.0])
def test_a_map_is_the_mirrored_grid_enlarged_and_blurred(count: int, size: int, sigma: float) -> None:
    """Rows and columns drawn by one matrix each, against the three steps one after another, by OpenCV."""
    grid = np.random.default_rng(0).random((count, count)).astype(np.float32)
    pad, patch = count - 1, size // count
    around = np.pad(grid, pad, "reflect")
    large = cv2.resize(around, None, fx=patch, fy=patch, interpolation=cv2.INTER_LINEAR)
    if sigma:
        large = cv2.GaussianBlur(large, (0, 0), sigma * size / 224)
    expected = large[pad * patch :, pad * patch :][:size, :size]
    np.testing.assert_allclose(full_map(grid, size, sigma), expected, atol=2e-4)


@given(st.integers(1, 40), st.integers(16, 320), st.floats(0, 8))
@settings(max_examples=60)
def test_weights_of_a_map_are_symmetric_and_whole(count: int, size: int, sigma: float) -> None:
    """A map pulled to one side, or darker at the border, at any size: odd, even, no multiple of the patches."""
    weights = drawing_weights(count, size, sigma * size / 224)
    assert weights.shape == (size, count) and weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-5)


@given(st.integers(6, 40), st.integers(64, 320), st.integers(0, 1), st.floats(1, 4))
@settings(max_examples=60)
def test_a_high_patch_at_the_rim_is_not_highest_on_the_border(count: int, size: int, side: int, sigma: float) -> None:
    """A plateau from the outermost patch to the border, which blurred has its maximum on the border row."""
    grid = np.ones((count, count), np.float32)
    row = (0, count - 1)[side]
    grid[row, count // 2] = 3
    peak = int(np.unravel_index(full_map(grid, size, sigma).argmax(), (size, size))[0])
    assert abs(peak + 0.5 - (row + 0.5) * size / count) <= 1


@given(st.integers(1, 40), st.integers(0, 1), st.floats(2, 40), st.floats(-20, 20), st.floats(-20, 20))
@settings(max_examples=60)
def test_a_place_is_in_the_box_of_its_nearest_cell(
    count: int, axis: int, stride: float, top: float, left: float
) -> None:
    """A frame around other pixels than the patch saw: cells of odd strides do not divide the image evenly."""
    cells = Cells(stride, (top, left))
    shape = (count, 7) if axis == 0 else (7, count)
    for row in range(shape[0]):
        for column in range(shape[1]):
            place = top + row * stride, left + column * stride
            assert cells.nearest(place, shape) == (row, column)
            box = cells.box(row, column)
            assert box[0] < place[1] < box[2] and box[1] < place[0] < box[3]
    assert cells.nearest((-1e6, 1e6), shape) == (0, shape[1] - 1)
    side = 7 * stride
    assert Cells(1 / 7, (top / side, left / side)).box(0, 0) == pytest.approx([part / side for part in cells.box(0, 0)])
    assert cells.shares(side) == pytest.approx([1 / 7, top / side, left / side])
