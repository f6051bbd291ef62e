"""Calibration on held-out normal images: who is held out, what is 1, and what an image scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core.events import result_of
from panda_core.segmentation.calibration import ENOUGH, FEWEST, FOLDS, fit_calibrated, folds_of
from panda_core.segmentation.maps import top_mean
from panda_core.segmentation.table import SEGMENTERS

Model, Make = Callable[..., Any], Callable[..., Any]


@pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 10, 11, 49])
def test_of_few_images_half_are_held_out_once(count: int) -> None:
    """An image that is compared with itself, twice or never; a space that has seen the images that calibrate."""
    space, folds = folds_of(count, 0)
    held_out = np.concatenate(folds).tolist()
    assert len(held_out) == len(set(held_out)) == (count // 2 if count >= FEWEST else count)
    assert len(folds) == min(len(held_out), FOLDS)
    expected = set(range(count)) - set(held_out) if count >= FEWEST else set(range(count))
    assert set(space.tolist()) == expected and len(space) == len(expected)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1 and all((np.diff(fold) > 0).all() for fold in folds)


@pytest.mark.parametrize("count", [50, 64, 200])
def test_from_fifty_images_on_a_tenth_is_held_out(count: int) -> None:
    """Ten times the work where a tenth says enough."""
    space, (fold,) = folds_of(count, 0)
    assert sorted([*space, *fold]) == list(range(count))
    assert count >= ENOUGH and len(set(fold.tolist())) == round(count / 10)
    assert (np.diff(fold) > 0).all() and fold.max() < count


def test_the_seed_decides_who_is_held_out() -> None:
    """The first images always, which in a folder are of one day."""
    assert folds_of(80, 3)[1][0].tolist() == folds_of(80, 3)[1][0].tolist()
    assert len({tuple(folds_of(80, seed)[1][0]) for seed in range(5)}) == 5


@pytest.mark.parametrize("recipe", sorted(SEGMENTERS))
@pytest.mark.parametrize(("count", "held"), [(2, 2), (5, 5), (12, 6), (50, 5)])
def test_every_held_out_image_is_new_to_its_judge(
    model: Model, images: Make, recipe: str, count: int, held: int
) -> None:
    """Maps of zeros: a normal image in the bank that judges it would make every threshold 0."""
    learner = model(recipe)
    found = result_of(fit_calibrated(learner, learner.patches(images(count), learner.rotations), count))
    assert len(found.held_out) == len(found.grids) == len(found.scores) == held
    assert (np.diff(found.held_out) > 0).all()
    assert (found.grids > 0).all() and np.isfinite(found.scores).all()
    if count < ENOUGH:
        assert found.bank.tolist() == list(range(count)), "the final bank holds them all"
    else:
        assert sorted([*found.bank, *found.held_out]) == list(range(count))


@pytest.mark.parametrize("odd", [0, 3, 5])
def test_held_out_maps_are_in_the_order_of_the_images(model: Model, images: Make, odd: int) -> None:
    """The map of one held-out image shown under another's name: folds come in a shuffled order."""
    several = images(12)
    odd = int(np.concatenate(folds_of(12, 0)[1])[odd])
    several[odd] = 255 - several[odd]
    learner = model()
    found = result_of(fit_calibrated(learner, learner.patches(several), 12))
    assert found.held_out[found.grids.mean(axis=(1, 2)).argmax()] == odd
    assert found.held_out[found.scores.argmax()] == odd


def test_the_final_bank_is_of_the_images_it_names(model: Model, images: Make) -> None:
    """A bank that is left as the last fold made it."""
    for count in (12, 50):
        learner = model(coreset=1.0)
        found = result_of(fit_calibrated(learner, learner.patches(images(count), learner.rotations), count))
        known = learner.segment(learner.in_space(learner.patches(images(count)))).grids.max(axis=(1, 2)) < 1e-2
        assert np.nonzero(known)[0].tolist() == found.bank.tolist()
        assert {int(number) for number in learner.method.banks[0].origins[:, 0]} == set(found.bank.tolist())


@pytest.mark.parametrize("recipe", ["patchcore", "spade"])
@pytest.mark.parametrize("count", [12, 50])
def test_1_is_as_far_as_held_out_patches_lie(model: Model, images: Make, recipe: str, count: int) -> None:
    """A level with long features that decides the merged map alone."""
    learner = model(recipe)
    raw = learner.patches(images(count))
    result_of(fit_calibrated(learner, raw, count))
    fold = folds_of(count, 0)[1][0]
    others = np.setdiff1d(np.arange(count), fold)
    normal = learner.in_space(raw)
    result_of(learner.fit(normal.rows(others), others))
    held_out = normal.rows(fold)
    for part, scale in zip(learner.method.compare(held_out.groups, held_out.pooled), learner.scales, strict=True):
        assert (part.distances[..., 0] / scale).mean() == pytest.approx(1, rel=1e-4)
    assert learner.scales[0] != learner.scales[1]


def test_equal_images_divide_by_no_zero(model: Model, images: Make) -> None:
    """NaN or infinity where all normal images are the same: a distance of 0 is then the unit."""
    learner = model()
    first, second = folds_of(12, 0)[1][:2]
    copies = images(12)
    copies[first[0]] = copies[first[-1]] = copies[second[0]]  # those that are judged first
    found = result_of(fit_calibrated(learner, learner.patches(copies), 12))
    assert np.isfinite(found.scores).all() and found.grids.max() < 1e9
    learner = model()
    found = result_of(fit_calibrated(learner, learner.patches(images(1) * 6), 6))
    assert np.isfinite(found.scores).all() and np.isfinite(found.grids).all()
    said = learner.segment(learner.in_space(learner.patches(images(2, seed=1))))
    assert np.isfinite(said.grids).all() and np.isfinite(said.scores).all()
    assert (said.scores > found.scores.max()).all()


def test_part_or_whole_worked_by_hand(model: Model, images: Make) -> None:
    """Deviations of the wrong number, the smaller of the two, or held-out images that are not the zero of the scale."""
    learner = model(top=0.2)
    found = result_of(fit_calibrated(learner, learner.patches(images(12)), 12))
    (part_mean, whole_mean), (part_spread, whole_spread) = learner.normal_views
    parts = top_mean(found.grids, 0.2)
    assert part_mean == pytest.approx(parts.mean(), rel=1e-4)
    assert part_spread == pytest.approx(max(parts.std(), parts.mean() / 20), rel=1e-3)
    assert (found.scores >= (parts - part_mean) / part_spread - 1e-4).all()
    said = learner.segment(learner.in_space(learner.patches(images(5, seed=1))))
    levels = [distances[..., 0] / scale for distances, scale in zip(said.distances, learner.scales, strict=True)]
    whole = np.mean([level.mean(axis=(1, 2)) for level in levels], axis=0)
    np.testing.assert_allclose(said.whole, whole, rtol=1e-5)
    expected = np.maximum((top_mean(said.grids, 0.2) - part_mean) / part_spread, (whole - whole_mean) / whole_spread)
    np.testing.assert_allclose(said.scores, expected, rtol=1e-3, atol=1e-4)


def test_part_alone_is_the_mean_of_the_highest(model: Model, images: Make) -> None:
    """A setting without effect."""
    learner = model(image_score="part", top=0.1)
    found = result_of(fit_calibrated(learner, learner.patches(images(12)), 12))
    np.testing.assert_allclose(found.scores, top_mean(found.grids, 0.1))
    assert "normal_views" not in learner.tensors()


def test_part_or_whole_sees_a_spot_and_a_wrong_surface(model: Model, images: Make) -> None:
    """A score that sees one of both kinds of defect only."""
    learner = model()
    found = result_of(fit_calibrated(learner, learner.patches(images(20)), 20))
    spot, surface = images(2, seed=1)
    spot[8:16, 20:28] = 255
    surface = surface // 2
    said = learner.segment(learner.in_space(learner.patches([spot, surface])))
    assert (said.scores > found.scores.max()).all()


@pytest.mark.parametrize("recipe", ["patchcore"])
def test_a_stop_is_heard_while_fitting(model: Model, images: Make, recipe: str) -> None:
    """A request that waits for all ten folds."""
    learner = model(recipe)
    fitting = fit_calibrated(learner, learner.patches(images(12)), 12)
    assert next(fitting) is None  # before the first fold is done
    fitting.close()
    assert learner.method.banks == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("turns", [2, 4])
def test_held_out_images_are_judged_without_their_copies(model: Model, images: Make, turns: int) -> None:
    """A turned copy of a held-out image left in the bank, or turned copies judged as images of their own."""
    for count, held in ((12, 6), (50, 5)):
        learner = model(rotations=turns, coreset=1.0)
        quarters = [[np.rot90(image, turn).astype(float) for turn in range(4)] for image in images(count)]
        symmetric = [np.mean(several, axis=0).astype(np.uint8) for several in quarters]  # equal to their copies
        found = result_of(fit_calibrated(learner, learner.patches(symmetric, turns), count))
        assert len(found.grids) == held
        assert (found.grids.max(axis=(1, 2)) > 1e-3).all()
