"""PatchCore and SPADE: what they promise whatever the features are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core.events import result_of
from panda_core.segmentation.bank import SHOWN
from panda_core.segmentation.maps import top_mean
from panda_core.segmentation.patchcore import PatchCore
from panda_core.segmentation.spade import Spade
from panda_core.segmentation.table import SEGMENTERS


def patches(count: int, seed: int = 0, side: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, side, side, width)).astype(np.float32)


def patchcore(*groups: np.ndarray, turns: int = 1, **changes: Any) -> PatchCore:
    """Return a PatchCore that keeps all patches, unless told otherwise, fitted to images 10, 11, ..."""
    given: dict[str, Any] = {"coreset": 1.0, "bank_rows": 10**6, "candidates": 10**6, "exact_rows": 10**6}
    method = PatchCore(**{"seed": 0, **given, "top": 0.0, "reweight": 0, "rotations": turns, **changes})
    result_of(method.fit(groups, np.arange(len(groups[0]) // turns) + 10, None))
    return method


def nearest(bank: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the distance of each patch (..., D) to the nearest of a bank, by brute force."""
    flat = bank.reshape(-1, bank.shape[-1]).astype(np.float64)
    apart = queries[..., None, :].astype(np.float64) - flat
    return np.sqrt((apart**2).sum(axis=-1)).min(axis=-1)


def test_a_whole_coreset_is_the_full_memory() -> None:
    """Patches lost between the images and the bank; levels compared with another level's bank."""
    bank, queries = (patches(6), patches(6, 1, 2, 8)), (patches(3, 2), patches(3, 3, 2, 8))
    for found, normal, query in zip(patchcore(*bank).compare(queries, None), bank, queries, strict=True):
        assert found.distances.shape == (*query.shape[:3], SHOWN)
        np.testing.assert_allclose(found.distances[..., 0], nearest(normal, query), rtol=1e-4)
        assert (np.diff(found.distances, axis=-1) >= 0).all()


def test_what_it_remembers_scores_0_and_names_its_place() -> None:
    """A neighbour shown at the wrong place of the wrong image."""
    bank = patches(6)
    (found,) = patchcore(bank).compare([bank], None)
    np.testing.assert_allclose(found.distances[..., 0], 0, atol=1e-3)
    places = np.stack(np.meshgrid(range(10, 16), [0], range(4), range(4), indexing="ij"), axis=-1)[:, 0]
    np.testing.assert_array_equal(found.origins[..., 0, :], places)


@pytest.mark.parametrize(("coreset", "rows", "kept"), [(0.25, 10**6, 24), (1.0, 10, 10), (1e-6, 10**6, 1)])
def test_the_coreset_is_as_large_as_it_says(coreset: float, rows: int, kept: int) -> None:
    """A share of the images instead of the patches, or none at all; distances that get smaller as patches go."""
    bank, queries = patches(6), patches(3, 2)
    method = patchcore(bank, coreset=coreset, bank_rows=rows)
    assert len(method.banks[0].features) == kept
    (found,), (full,) = method.compare([queries], None), patchcore(bank).compare([queries], None)
    assert (found.distances[..., 0] >= full.distances[..., 0] - 1e-4).all()
    features = {tuple(feature) for feature in bank.reshape(-1, 5)}
    assert all(tuple(feature) in features for feature in method.banks[0].features), "stored as they are, not projected"


def test_candidates_are_fewer_to_choose_from() -> None:
    """A coreset cut down to the number of candidates; a draw that is another one each time."""
    bank = patches(20)
    for candidates, kept in ((40, 32), (5, 32)):
        first, second = (patchcore(bank, coreset=0.1, candidates=candidates) for _ in range(2))
        assert len(first.banks[0].features) == kept
        np.testing.assert_array_equal(first.banks[0].features, second.banks[0].features)


def test_another_normal_image_never_raises_a_distance() -> None:
    """A bank that is rebuilt from part of the images."""
    queries = patches(3, 2)
    before = np.inf
    for count in (1, 2, 4, 8):
        distances = patchcore(patches(8)[:count]).compare([queries], None)[0].distances[..., 0]
        assert (distances <= before + 1e-4).all()
        before = distances


@pytest.mark.parametrize("b", [2, 3, 9, 50])
def test_re_weighting_stays_within_its_bound(b: int) -> None:
    """The share of another patch than the nearest; exp of a distance that overflows. (1 - 1/b) <= s / s* < 1."""
    for scale in (0.1, 1.0, 300.0):
        bank, queries = patches(6) * scale, patches(9, 2) * scale
        method = patchcore(bank, reweight=b)
        compared = method.compare([queries], None)
        grids = compared[0].distances[..., 0]
        ratio = method.image_scores(grids, compared, [queries], None) / grids.max(axis=(1, 2))
        assert np.isfinite(ratio).all()
        assert (ratio >= 1 - 1 / b - 1e-6).all() and (ratio <= 1).all()
        assert scale > 1 or (ratio < 1).all()


def test_re_weighting_is_the_papers() -> None:
    """Eq. 7 worked out slowly for each image."""
    bank, queries, b = patches(4), patches(5, 2), 4
    method = patchcore(bank, reweight=b)
    compared = method.compare([queries], None)
    grids, flat = compared[0].distances[..., 0], bank.reshape(-1, 5)
    for image, score in enumerate(method.image_scores(grids, compared, [queries], None)):
        test = queries[image].reshape(-1, 5)[grids[image].argmax()]
        to_bank = np.linalg.norm(flat - test, axis=1)
        around = np.linalg.norm(flat - flat[to_bank.argmin()], axis=1).argsort()[:b]
        weight = 1 - np.exp(to_bank.min()) / np.exp(to_bank[around]).sum()
        assert score == pytest.approx(weight * to_bank.min(), rel=1e-4)


@pytest.mark.parametrize("top", [0.0, 0.2, 1.0])
def test_without_re_weighting_the_score_is_of_the_map(top: float) -> None:
    """A score of other patches than those that are shown; with `top` 0 it is the highest of the map."""
    bank, queries = patches(6), patches(4, 2)
    method = patchcore(bank, top=top)
    compared = method.compare([queries], None)
    grids = compared[0].distances[..., 0]
    scores = method.image_scores(grids, compared, [queries], None)
    np.testing.assert_array_equal(scores, top_mean(grids, top))
    assert top > 0 or np.array_equal(scores, grids.max(axis=(1, 2)))


@pytest.mark.parametrize("turns", [2, 4, 8])
def test_turned_copies_multiply_the_memory(model: Callable[..., Any], images: Callable[..., Any], turns: int) -> None:
    """Turned copies left out of the bank; with them no distance may rise, and a turned normal image is near."""
    rows, found = [], []
    for several in (1, turns):
        learner = model(rotations=several, coreset=1.0)
        raw = learner.patches(images(3), several)
        learner.fit_spaces(raw)
        result_of(learner.fit(learner.in_space(raw), np.arange(3)))
        rows.append(len(learner.method.banks[0].features))
        turned = learner.in_space(learner.patches([np.rot90(image, 4 // min(turns, 4)) for image in images(3)]))
        found.append(learner.method.compare(turned.groups, None)[0])
    assert rows[1] == turns * rows[0]
    assert (found[1].distances <= found[0].distances + 1e-3).all()
    assert found[1].distances[..., 0].max() < 1e-2 < found[0].distances[..., 0].max()
    assert set(np.unique(found[1].origins[..., 0, 1])) == {turns // min(turns, 4)}


def spade(groups: list[np.ndarray], pooled: np.ndarray, nearest_images: int) -> Spade:
    method = Spade(seed=0, nearest_images=nearest_images)
    result_of(method.fit(groups, np.arange(len(pooled)) + 10, pooled))
    return method


def pooled_of(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).normal(size=(count, 6)).astype(np.float32)


@pytest.mark.parametrize("nearest_images", [1, 3, 7, 50])
def test_spade_is_its_slow_twin(nearest_images: int) -> None:
    """Patches of other images than the retrieved; images retrieved by something else; K above N."""
    bank, queries = [patches(7), patches(7, 1, 2, 8)], [patches(4, 2), patches(4, 3, 2, 8)]
    pooled, asked = pooled_of(7), pooled_of(4, 1)
    method = spade(bank, pooled, nearest_images)
    compared = method.compare(queries, asked)
    scores = method.image_scores(np.zeros((4, 4, 4)), compared, queries, asked)
    for image in range(4):
        apart = np.linalg.norm(pooled - asked[image], axis=1)
        retrieved = apart.argsort()[:nearest_images]
        assert scores[image] == pytest.approx(apart[retrieved].mean(), rel=1e-4)
        for found, normal, query in zip(compared, bank, queries, strict=True):
            distances = found.distances[image]
            np.testing.assert_allclose(distances[..., 0], nearest(normal[retrieved], query[image]), rtol=1e-4)
            assert set(found.origins[image][..., 0].ravel()) <= set(retrieved + 10)
            for place in np.ndindex(distances.shape):
                number, turn, row, column = found.origins[image][place]
                there = np.linalg.norm(query[image][place[:2]] - normal[number - 10, row, column])
                assert turn == 0 and distances[place] == pytest.approx(there, rel=1e-3)


@pytest.mark.parametrize("nearest_images", [1, 5])
def test_an_image_of_the_gallery_has_an_empty_map(nearest_images: int) -> None:
    """An image that is not retrieved for itself."""
    bank, pooled = [patches(7)], pooled_of(7)
    (found,) = spade(bank, pooled, nearest_images).compare([bank[0][2:5]], pooled[2:5])
    np.testing.assert_allclose(found.distances[..., 0], 0, atol=1e-3)


@pytest.mark.parametrize("recipe", ["patchcore", "spade"])
@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
def test_a_foreign_square_is_where_the_map_is_high(
    model: Callable[..., Any], images: Callable[..., Any], recipe: str, norm: str
) -> None:
    """A map that is high beside the defect, or low on it."""
    from panda_core.segmentation.calibration import fit_calibrated

    learner = model(recipe, norm)
    result_of(fit_calibrated(learner, learner.patches(images(12), learner.rotations), 12))
    test = images(4, seed=1)
    for image in test:
        image[12:24, 20:32] = (250, 40, 10)
    grids = learner.segment(learner.in_space(learner.patches(test))).grids
    inside = np.zeros((7, 7), bool)
    inside[3:6, 5:7] = True
    for grid in grids:
        assert grid[inside].mean() > 1.5 * grid[~inside].mean()


@pytest.mark.parametrize("recipe", sorted(SEGMENTERS))
def test_a_saved_model_says_the_same(model: Callable[..., Any], images: Callable[..., Any], recipe: str) -> None:
    """A space, a scale or a bank that is left out of the file."""
    from panda_core.segmentation.calibration import fit_calibrated

    norm = "l2" if SEGMENTERS[recipe].unwhitened else "whiten"
    learner = model(recipe, norm)
    result_of(fit_calibrated(learner, learner.patches(images(12), learner.rotations), 12))
    again = model(recipe, norm).load(learner.tensors())
    said, expected = (one.segment(one.in_space(one.patches(images(5, 1)))) for one in (again, learner))
    np.testing.assert_array_equal(said.grids, expected.grids)
    np.testing.assert_array_equal(said.scores, expected.scores)
    for name in ("distances", "origins"):
        for found, wanted in zip(getattr(said, name), getattr(expected, name), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_run_from_before_cells_were_measured_keeps_its_size(
    model: Callable[..., Any], images: Callable[..., Any]
) -> None:
    """A bank of patches seen at 40 pixels, asked about patches seen at 32: every new image would be anomalous."""
    from panda_core.segmentation.calibration import fit_calibrated

    learner = model(image_size=40)
    result_of(fit_calibrated(learner, learner.patches(images(6)), 6))
    tensors = learner.tensors()
    again = model(image_size=40).load(tensors)
    assert (learner.side, again.side) == (32, 32)
    np.testing.assert_array_equal(again.predict_maps(images(2)).grids, learner.predict_maps(images(2)).grids)
    before = model(image_size=40).load({name: value for name, value in tensors.items() if name != "cells"})
    assert before.side == 40
    assert before.predict_maps(images(2)).grids.shape == (2, 9, 9)  # 5 x 5 pixels, every 4
    assert [cells.stride for cells in before.cells] == [40 / 9, 40 / 4]
