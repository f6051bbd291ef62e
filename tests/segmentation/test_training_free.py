"""AnomalyDINO and SubspaceAD: what they promise whatever the features are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core import RunConfig, UsageError, load_run
from panda_core.events import result_of
from panda_core.linalg import Moments
from panda_core.segmentation.anomalydino import AnomalyDino
from panda_core.segmentation.bank import SHOWN
from panda_core.segmentation.maps import top_mean
from panda_core.segmentation.subspacead import Subspace

Make, Finish = Callable[..., RunConfig], Callable[..., Any]


def patches(count: int, seed: int = 0, side: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, side, side, width)).astype(np.float32)


def anomalydino(bank: np.ndarray, turns: int = 1, rows: int = 10**6) -> AnomalyDino:
    method = AnomalyDino(seed=0, bank_rows=rows, top=0.01, rotations=turns)
    result_of(method.fit([bank], np.arange(len(bank) // turns) + 10, None))
    return method


def subspace(bank: np.ndarray, variance: float = 0.9) -> Subspace:
    method = Subspace(variance=variance, top=0.01)
    result_of(method.fit([bank], np.arange(len(bank)), None))
    return method


def test_a_distance_is_one_minus_the_largest_cosine() -> None:
    """A Euclidean distance, which a long patch decides; a neighbour named at another place than its own."""
    bank, queries = patches(6), 7 * patches(3, 1)
    (found,) = anomalydino(bank).compare([queries], None)
    unit = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (bank.reshape(-1, 5), queries)]
    expected = np.sort(1 - unit[1] @ unit[0].T, axis=-1)[..., :SHOWN]
    np.testing.assert_allclose(found.distances, expected, atol=1e-6)
    assert (np.diff(found.distances, axis=-1) >= 0).all()
    assert found.origins is not None
    image, turn, row, column = np.moveaxis(found.origins[..., 0, :], -1, 0)
    assert (turn == 0).all()
    nearest = bank[image - 10, row, column]
    cosines = (nearest * queries).sum(axis=-1) / np.linalg.norm(nearest, axis=-1) / np.linalg.norm(queries, axis=-1)
    np.testing.assert_allclose(1 - cosines, expected[..., 0], atol=1e-6)


def test_a_bank_has_a_largest_size_and_may_hold_fewer_patches_than_are_shown() -> None:
    """A file that grows with every image; a bank of one patch that cannot name three neighbours."""
    bank = patches(6)
    drawn = anomalydino(bank, rows=20)
    assert len(drawn.references[0]) == len(drawn.origins[0]) == 20
    assert not np.array_equal(drawn.origins[0], anomalydino(bank).origins[0][:20])
    (found,) = anomalydino(bank[:1, :1, :1]).compare([patches(2, 1)], None)
    assert found.distances.shape == (2, 4, 4, SHOWN) and (found.distances == found.distances[..., :1]).all()


@pytest.mark.parametrize("variance", [0.3, 0.9, 1.0])
def test_a_residual_is_what_scikit_learns_pca_cannot_rebuild(variance: float) -> None:
    """A subspace through the origin, of too few directions, or of those in which normal patches vary least."""
    from sklearn.decomposition import PCA

    bank = patches(40, width=8) * np.arange(1, 9, dtype=np.float32) + 3
    flat, queries = bank.reshape(-1, 8), patches(3, 1, width=8) + 3
    shares = PCA().fit(flat).explained_variance_ratio_
    kept = min(int(np.searchsorted(np.cumsum(shares), variance - 1e-9)) + 1, 7)
    pca = PCA(kept).fit(flat)
    query = queries.reshape(-1, 8)
    expected = np.square(query - pca.inverse_transform(pca.transform(query))).sum(axis=1)
    method = subspace(bank, variance)
    assert method.directions[0].shape == (8, kept)
    (found,) = method.compare([queries], None)
    assert found.origins is None
    np.testing.assert_allclose(found.distances.ravel(), expected, rtol=1e-3, atol=1e-5)


def test_equal_patches_leave_nothing_over() -> None:
    """NaN where normal patches do not vary."""
    (found,) = subspace(np.ones((3, 2, 2, 4), np.float32)).compare([np.ones((1, 2, 2, 4), np.float32)], None)
    assert (found.distances == 0).all()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_moments_seen_in_parts_are_those_of_all_rows(offset: float) -> None:
    """Digits lost where the mean is far from 0, or a part that counts by its number instead of its rows."""
    rows = np.random.default_rng(0).normal(size=(300, 6)) + offset
    parts = [Moments(6) for _ in range(4)]
    for part, (start, end) in zip(parts, ((0, 1), (1, 10), (10, 10), (10, 300)), strict=True):
        if end > start:
            part.add(rows[start:end])
    whole = Moments.joined(parts)
    assert whole.count == 300
    np.testing.assert_allclose(whole.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole.scatter / 300, np.cov(rows.T, bias=True), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("make", [anomalydino, subspace])
def test_an_image_scores_the_highest_hundredth_of_its_map(make: Callable[..., Any]) -> None:
    """A score of other patches than those that are shown."""
    method = make(patches(6))
    grids = np.random.default_rng(1).random((3, 20, 20), np.float32)
    np.testing.assert_array_equal(method.image_scores(grids, [], [], None), top_mean(grids, 0.01))
    assert np.allclose(top_mean(grids, 0.01), np.sort(grids.reshape(3, -1))[:, -4:].mean(axis=1))


@pytest.mark.parametrize("recipe", ["anomalydino", "subspacead"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_few_images_are_enough(spot: Make, finish: Finish, recipe: str, count: int) -> None:
    """The one image that is compared with itself: a threshold of 0, and every photo defective."""
    folder, _ = finish(spot(recipe=recipe, train_limit=count, test_limit=8, set={"rotations": 4}))
    run = load_run(folder.path)
    arrays, held_out = run.final(), count if count < 8 else count // 2
    assert len(arrays.held_out_scores) == held_out and (arrays.held_out_scores > 0).all()
    assert np.isfinite(arrays.scores).all() and run.split.fitted == list(range(count))
    images = [run.images("test").load(row) for row in range(8)]
    np.testing.assert_allclose(run.detector().anomaly_scores(images), arrays.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [20, 60])
def test_patches_that_pass_by_give_what_all_at_once_would(
    spot: Make, finish: Finish, model: Callable[..., Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold whose own images are in the subspace that judges them; other folds, another unit, another order."""
    from panda_core.segmentation.calibration import fit_calibrated

    folder, _ = finish(spot(recipe="subspacead", train_limit=count, test_limit=4))
    run = load_run(folder.path)
    streamed, held_out = run.detector(), run.split.held_out
    task = run.images("train")
    learner = model("subspacead", "l2")
    raw = learner.patches([task.load(row) for row in range(len(run.split.train))])
    whole = result_of(fit_calibrated(learner, raw, len(run.split.train)))
    assert whole.held_out.tolist() == held_out and whole.bank.tolist() == run.split.fitted
    np.testing.assert_allclose(streamed.held_out_scores, whole.scores, rtol=1e-3)
    np.testing.assert_allclose(run.maps(0).held_out_grids, whole.grids, rtol=1e-3, atol=1e-4)


def test_memory_does_not_grow_with_the_images(model: Callable[..., Any], images: Callable[..., Any]) -> None:
    """A refusal of many images by a method that keeps none, or one that never comes."""
    learner = model("subspacead", rotations=2)
    few, many = (learner.bytes_for(images(1)[0], count) for count in (2, 2000))
    assert few == many > 0


def test_what_does_not_fit_a_subspace_is_refused(spot: Make, finish: Finish) -> None:
    """Whitened patches, which vary equally everywhere; levels of unequal width whose mean does not exist."""
    with pytest.raises(UsageError, match=r"`subspacead`.*--feature-norm none"):
        finish(spot(recipe="subspacead", feature_norm="whiten"))
    with pytest.raises(UsageError, match=r"`merge=mean` needs levels of one width.*4, 8"):
        finish(spot(recipe="subspacead", set={"merge": "mean"}))
    folder, _ = finish(spot(recipe="subspacead", set={"merge": "mean", "levels": "last"}))
    assert load_run(folder.path).final().scores.shape == (20,)


def test_the_late_level_is_the_networks_deepest(spot: Make, finish: Finish) -> None:
    """All levels compared by a method that has one, or the one that is named passed over."""
    for levels, sides in (("", [3]), ("first", [7]), ("first,last", [7, 3])):
        folder, _ = finish(spot(recipe="anomalydino", test_limit=4, set={"levels": levels, "rotations": 1}))
        assert [group.shape[1] for group in load_run(folder.path).maps(0).distances] == sides


def test_a_large_photo_is_compared_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes of cosines of all patches of a photo; rows that are lost, or in another's place."""
    rng = np.random.default_rng(0)
    method, photo = anomalydino(patches(4, 1)), rng.random((1, 7, 5, patches(1, 1).shape[-1]), dtype=np.float32)
    (whole,) = method.compare([photo], None)
    monkeypatch.setattr("panda_core.segmentation.anomalydino.TOGETHER", 11)  # two of seven rows
    (parts,) = method.compare([photo], None)
    assert whole.origins is not None and parts.origins is not None
    np.testing.assert_allclose(parts.distances, whole.distances, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(parts.origins, whole.origins)
