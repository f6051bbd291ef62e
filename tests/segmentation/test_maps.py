"""Maps: enlarged, blurred and merged without moving what they show."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.segmentation.maps import agreed, enlarged, full_map, merged, top_mean


def grids(count: int = 3, side: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, side, side)).astype(np.float32)


@pytest.mark.parametrize("size", [16, 64, 224])
@pytest.mark.parametrize("sigma", [0.0, 4.0, 64.0])
@pytest.mark.parametrize("side", [1, 3, 14])
def test_a_constant_map_stays_constant(size: int, sigma: float, side: int) -> None:
    """A border that is darkened by zeros from outside the image."""
    found = full_map(np.full((side, side), 2.5, np.float32), size, sigma)
    assert found.shape == (size, size) and found.dtype == np.float32
    np.testing.assert_allclose(found, 2.5, rtol=1e-5)


@pytest.mark.parametrize("place", [(0, 0), (0, 7), (3, 4), (7, 2), (7, 7)])
@pytest.mark.parametrize("sigma", [0.0, 4.0])
def test_a_single_high_patch_stays_where_it_was(place: tuple[int, int], sigma: float) -> None:
    """A map moved by half a patch, or turned over: the maximum lies inside the patch that is high."""
    grid = np.zeros((8, 8), np.float32)
    grid[place] = 1
    row, column = np.unravel_index(full_map(grid, 64, sigma).argmax(), (64, 64))
    assert (row // 8, column // 8) == place


def test_a_high_patch_is_seen_around_its_centre() -> None:
    """Corners aligned: patches would be drawn towards the middle of the image."""
    grid = np.zeros((8, 8), np.float32)
    grid[2, 5] = 1
    found = full_map(grid, 64, 4.0)
    rows, columns = np.indices((64, 64))
    assert (found * rows).sum() / found.sum() == pytest.approx(2 * 8 + 3.5, abs=0.05)
    assert (found * columns).sum() / found.sum() == pytest.approx(5 * 8 + 3.5, abs=0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_grid_gives_the_flipped_map(axis: int) -> None:
    """A map that is moved to one side."""
    (grid,) = grids(1)
    np.testing.assert_allclose(
        full_map(np.flip(grid, axis), 96, 4.0), np.flip(full_map(grid, 96, 4.0), axis), atol=1e-5
    )


@pytest.mark.parametrize("size", [112, 224, 448])
def test_the_blur_grows_with_the_input(size: int) -> None:
    """A blur in pixels of the input: an image looked at twice as closely would be blurred half as much."""
    edge = np.zeros((size, size), np.float32)
    edge[:, size // 2 :] = 1
    slope = np.diff(full_map(edge, size, 8.0)[0])
    columns = np.arange(len(slope))
    center = (slope * columns).sum()
    spread = np.sqrt((slope * (columns - center) ** 2).sum())
    assert spread == pytest.approx(8 * size / 224, rel=0.05)
    np.testing.assert_array_equal(full_map(edge, size, 0.0), edge)


@pytest.mark.parametrize("shape", [(4, 12), (12, 4), (3, 7)])
def test_the_map_of_an_oblong_grid_is_oblong(shape: tuple[int, int]) -> None:
    """A map squared, blurred more along one side than along the other, beside an image that is not square."""
    grid = np.zeros(shape, np.float32)
    grid[1, 2] = 1
    found = full_map(grid, 96, 4.0)
    patch = 96 / max(shape)
    assert found.shape == tuple(round(count * patch) for count in shape)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (row // patch, column // patch) == (1, 2)
    np.testing.assert_allclose(full_map(grid.T, 96, 4.0), found.T, atol=1e-6)


def test_merged_is_the_mean_on_the_finest_grid() -> None:
    """A sum, levels that do not lie over one another, or coarse levels that blur the fine ones away."""
    fine, coarse = grids(2, 8), grids(2, 4, seed=1)
    found = merged([fine, coarse])
    assert found.shape == (2, 8, 8) and found.dtype == np.float32
    np.testing.assert_allclose(found, (2 * fine + enlarged(coarse, (8, 8))) / 3, rtol=1e-5)
    np.testing.assert_allclose(merged([fine, fine, fine]), fine, rtol=1e-5)
    np.testing.assert_array_equal(merged([fine]), fine)
    np.testing.assert_allclose(merged([coarse, fine]), found, rtol=1e-5)


def test_agreed_is_the_root_of_the_harmonic_mean_of_squares() -> None:
    """One level alone that makes a place stand out; a distance of 0 that is no number in the map."""
    fine, coarse = 1 + grids(2, 8), 1 + grids(2, 4, seed=1)
    found, large = agreed([fine, coarse]), enlarged(1 / coarse**2, (8, 8))
    assert found.shape == (2, 8, 8) and found.dtype == np.float32
    expected = 1 / np.sqrt((2 / fine**2 + 1 / enlarged(coarse, (8, 8)) ** 2) / 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(found, 1 / np.sqrt((2 / fine**2 + large) / 3), rtol=1e-5)  # levels are enlarged first
    np.testing.assert_allclose(agreed([fine, fine]), fine, rtol=1e-5)
    sure, blind = np.full((1, 4, 4), 9.0, np.float32), np.ones((1, 4, 4), np.float32)
    assert (agreed([sure, blind]) < merged([sure, blind])).all()
    assert (agreed([np.zeros((1, 4, 4), np.float32), sure]) < 1e-5).all()


def test_enlarging_interpolates_between_centres() -> None:
    """Worked by hand: two patches on four places, 1 at the first's center and 3 at the second's."""
    found = enlarged(np.array([[[1.0, 3.0], [1.0, 3.0]]], np.float32), (4, 4))
    np.testing.assert_allclose(found[0], np.tile([1, 1.5, 2.5, 3], (4, 1)))


@pytest.mark.parametrize("side", [1, 3, 8, 28])
def test_the_mean_of_the_highest_lies_between_mean_and_maximum(side: int) -> None:
    """The lowest instead of the highest; none at all where a hundredth of the patches is less than one."""
    several = grids(5, side)
    flat = several.reshape(5, -1)
    found = top_mean(several, 0.01)
    assert (found >= flat.mean(axis=1) - 1e-6).all() and (found <= flat.max(axis=1)).all()
    np.testing.assert_array_equal(top_mean(several, 0.0), flat.max(axis=1))
    np.testing.assert_allclose(top_mean(several, 1.0), flat.mean(axis=1), rtol=1e-5)
    count = max(1, round(0.25 * side * side))
    np.testing.assert_allclose(top_mean(several, 0.25), np.sort(flat)[:, -count:].mean(axis=1), rtol=1e-6)
    if side < 10:
        np.testing.assert_array_equal(found, flat.max(axis=1))
