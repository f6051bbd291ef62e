"""From stage maps to patches in one space, against a slow twin that looks at one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from panda_core.segmentation.maps import rotated
from panda_core.segmentation.patches import PatchSpace, aligned_patches


def stage_map(channels: int, side: int, seed: int = 0, count: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def window_means(level: torch.Tensor, neighbourhood: int) -> np.ndarray:
    """Return, for each place (B, h, w, C), the mean of the places of its square that lie inside the image."""
    values, reach = level.permute(0, 2, 3, 1).numpy(), neighbourhood // 2
    found = np.empty_like(values)
    for row in range(values.shape[1]):
        for column in range(values.shape[2]):
            rows, columns = (
                slice(max(0, row - reach), row + reach + 1),
                slice(max(0, column - reach), column + reach + 1),
            )
            found[:, row, column] = values[:, rows, columns].mean(axis=(1, 2))
    return found


@pytest.mark.parametrize("neighbourhood", [1, 3, 5, 9])
@pytest.mark.parametrize("side", [1, 2, 7])
def test_patches_are_means_of_their_neighbourhood(neighbourhood: int, side: int) -> None:
    """Zeros from outside counted at the border, which make all borders alike; a window that is not centered."""
    level = stage_map(4, side)
    found = aligned_patches([level], neighbourhood)
    assert found.shape == (2, side, side, 4)
    np.testing.assert_allclose(found, window_means(level, neighbourhood), atol=1e-5)


def test_deeper_levels_are_enlarged_onto_the_first() -> None:
    """Levels side by side whose patches show different places of the image."""
    first, deep = stage_map(4, 8), stage_map(6, 4, seed=1)
    found = aligned_patches([first, deep], 3)
    assert found.shape == (2, 8, 8, 10)
    np.testing.assert_allclose(found[..., :4], window_means(first, 3), atol=1e-5)
    small = torch.from_numpy(window_means(deep, 3)).permute(0, 3, 1, 2)
    expected = F.interpolate(small, size=(8, 8), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found[..., 4:], expected, atol=1e-5)


def test_finer_levels_are_averaged_onto_the_first() -> None:
    """Every second place of a finer level thrown away."""
    first, fine = stage_map(4, 3), stage_map(2, 6, seed=1)
    found = aligned_patches([first, fine], 1)
    expected = fine.reshape(2, 2, 3, 2, 3, 2).mean(dim=(3, 5)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found[..., 4:], expected, atol=1e-6)


def test_an_object_is_at_one_place_in_all_levels() -> None:
    """Rows and columns swapped in one of the levels."""
    first, deep = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)
    first[..., 1, 6], deep[..., 0, 3] = 1, 1
    found = aligned_patches([first, deep], 1)[0]
    assert np.unravel_index(int(found[..., 0].argmax()), (8, 8)) == (1, 6)
    row, column = np.unravel_index(int(found[..., 1].argmax()), (8, 8))
    assert row < 2 and column > 5


def test_zeros_count_at_the_border_where_asked() -> None:
    """A choice without effect, or one that reaches into the image."""
    level = stage_map(4, 5)
    inside, zeros = (aligned_patches([level], 3, border)[0] for border in ("inside", "zeros"))
    np.testing.assert_allclose(zeros[1:-1, 1:-1], inside[1:-1, 1:-1], rtol=1e-6)
    np.testing.assert_allclose(zeros[0, 0], inside[0, 0] * 4 / 9, rtol=1e-5)  # four of nine places lie in the image
    np.testing.assert_allclose(zeros[0, 2], inside[0, 2] * 6 / 9, rtol=1e-5)


def test_without_position_the_place_does_not_count() -> None:
    """Coordinates in patches that were not asked for."""
    patches = aligned_patches([stage_map(4, 5)], 1).numpy()
    space = PatchSpace.fit("none", patches, (4,), 512, 0.0, 0)
    np.testing.assert_array_equal(space(patches), patches)


@pytest.mark.parametrize("position", [0.5, 2.0])
def test_position_sets_places_apart(position: float) -> None:
    """Coordinates so small that they never count, or in other units than the features."""
    patches = aligned_patches([stage_map(4, 5)], 1).numpy()
    found = PatchSpace.fit("none", patches, (4,), 512, position, 0)(patches)
    assert found.shape == (2, 5, 5, 6) and found.dtype == np.float32
    np.testing.assert_array_equal(found[..., :4], patches)
    length = np.linalg.norm(patches, axis=-1).mean()
    np.testing.assert_allclose(found[:, 4, 2, 4:] - found[:, 0, 2, 4:], [[position * length, 0]] * 2, rtol=1e-4)
    np.testing.assert_allclose(found[:, 2, 4, 4:] - found[:, 2, 0, 4:], [[0, position * length]] * 2, rtol=1e-4)
    np.testing.assert_array_equal(found[0, ..., 4:], found[1, ..., 4:])


@pytest.mark.parametrize("kind", ["none", "l2", "whiten"])
@pytest.mark.parametrize("position", [0.0, 1.0])
@pytest.mark.parametrize("keep_length", [False, True])
def test_a_saved_space_is_the_same(kind: str, position: float, keep_length: bool) -> None:
    """A space read back with another norm, or without its coordinates or lengths."""
    patches = aligned_patches([stage_map(4, 6), stage_map(8, 3, seed=1)], 3).numpy()
    space = PatchSpace.fit(kind, patches, (4, 8), 5, position, 0, keep_length)
    again = PatchSpace.from_tensors(kind, (4, 8), space.tensors())
    np.testing.assert_array_equal(again(patches), space(patches))
    width = ((12 + 12 * keep_length) if kind == "whiten" else 12) + 2 * (position > 0)
    assert space(patches).shape == (2, 6, 6, width)


def test_a_kept_length_tells_bright_from_dark() -> None:
    """A defect that is brighter and nothing else, which unit length hides."""
    patches = aligned_patches([stage_map(4, 6)], 1).numpy()
    bright = 3 * patches
    for keep_length, alike in ((False, True), (True, False)):
        space = PatchSpace.fit("whiten", patches, (4,), 512, 0.0, 0, keep_length)
        assert np.allclose(space(bright), space(patches), atol=1e-4) is alike


def test_unit_length_is_taken_of_each_level() -> None:
    """A wide level that drowns a narrow one, because both are scaled as one."""
    patches = np.concatenate([100 * np.ones((1, 2, 2, 4)), np.ones((1, 2, 2, 9))], axis=-1).astype(np.float32)
    found = PatchSpace.fit("l2", patches, (4, 9), 512, 0.0, 0)(patches)
    for level in (found[..., :4], found[..., 4:]):
        np.testing.assert_allclose(np.linalg.norm(level, axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize(("merge", "widths"), [("separate", [(4,), (8,)]), ("concat", [(4, 8)])])
def test_a_model_knows_the_widths_of_its_groups(
    model: Callable[..., Any], images: Callable[..., Any], merge: str, widths: list[tuple[int, ...]]
) -> None:
    """Levels normalised at the wrong border between them."""
    learner = model(merge=merge)
    found = learner.patches(images(3))
    assert learner.widths == widths
    assert [group.shape[-1] for group in found.groups] == [sum(group) for group in widths]
    assert found.groups[0].shape[:3] == (3, 7, 7) and found.pooled is None


def test_turned_copies_stand_together(model: Callable[..., Any], images: Callable[..., Any]) -> None:
    """Copies of one image among those of another: a neighbour shown in the wrong image."""
    several = images(2)
    found = model(rotations=4).patches(several, 4).groups[0]
    assert len(found) == 8
    for place, image in enumerate(several):
        for turn in range(4):
            (alone,) = model().patches([np.rot90(image, turn)]).groups[0]
            np.testing.assert_allclose(found[4 * place + turn], alone, atol=1e-5)


@pytest.mark.parametrize("turns", [2, 4, 8])
def test_turning_goes_round_once(turns: int) -> None:
    """Two turns that are the same, or steps in different directions."""
    image = np.zeros((33, 33, 3), np.uint8)
    image[14:19, 26:31] = 255  # east of the center
    for turn in range(turns):
        rows, columns = np.nonzero(rotated(image, turn, turns)[..., 0] > 127)
        angle = np.arctan2(16 - rows.mean(), columns.mean() - 16)
        assert np.cos(angle - 2 * np.pi * turn / turns) > 0.99


def test_a_turned_oblong_keeps_its_shape() -> None:
    """An eighth of a turn with black corners, which no normal image has."""
    image = np.full((20, 50, 3), 200, np.uint8)
    assert rotated(image, 1, 8).shape == (20, 50, 3) and (rotated(image, 1, 8) == 200).all()
    assert rotated(image, 2, 8).shape == (50, 20, 3)
