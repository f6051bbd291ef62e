"""How much of the neighbourhoods of step 0 is left: against its formula, and where it must be one or zero."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.runs.adapt.neighbourhoods import neighbourhoods, overlap


def slow_overlap(first: np.ndarray, now: np.ndarray) -> float:
    """Return the overlap of the neighbourhoods of two sets of features, in the words of the docstring."""
    shares, k = [], round((len(first) - 1) / 3)
    for row in range(len(first)):
        near = []
        for features in (first, now):
            distances = [float(((other - features[row]) ** 2).sum()) for other in features]
            others = [place for place in range(len(features)) if place != row]
            near.append(set(sorted(others, key=lambda place: distances[place])[:k]))
        shares.append(len(near[0] & near[1]) / k)
    chance = k / (len(first) - 1)
    return float((np.mean(shares) - chance) / (1 - chance))


@pytest.mark.parametrize("size", [4, 7, 31])
def test_overlap_follows_its_formula(size: int) -> None:
    """An image that counts as its own neighbour, another share than a third, or a chance that is not taken off."""
    rng = np.random.default_rng(size)
    first, noise = rng.normal(size=(2, size, 5)).astype(np.float32)
    for now in (first, first + noise, noise):
        found = overlap(neighbourhoods(first), neighbourhoods(now))
        assert found == pytest.approx(slow_overlap(first, now), abs=1e-6)


def test_overlap_is_one_for_the_same_shape_and_zero_for_chance() -> None:
    """A scale, a shift or a turn that is taken for a change; features without anything in common that score high."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 8)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
    assert overlap(neighbourhoods(first), neighbourhoods(0.01 * first @ turn + 3)) > 0.99
    others = rng.normal(size=(200, 8)).astype(np.float32)
    assert abs(overlap(neighbourhoods(first), neighbourhoods(others))) < 0.05


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_images_that_coincide_or_are_few_are_no_error(size: int) -> None:
    """A division by zero, or a table with holes, after a collapse to one point or with hardly any images."""
    point = np.ones((size, 4), np.float32)
    found = neighbourhoods(point)
    assert len(found) == size and not (found == np.arange(size)[:, None]).any()
    assert overlap(found, found) == pytest.approx(1.0)
