"""What every scorer must do, whatever it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from panda_core.errors import UsageError
from panda_core.scoring.table import SCORERS, find_scorer

pytestmark = pytest.mark.parametrize("key", sorted(SCORERS))


def normal(count: int = 60, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


class Spherical:
    """A background that looks the same from everywhere, wider than the normal images."""

    far = 2.0

    def distances(self, features: np.ndarray) -> np.ndarray:
        return 1 + np.square(features.astype(np.float64)).sum(axis=1) / 100


def build(key: str, **options: Any) -> Any:
    if SCORERS[key].needs_background:
        options["background"] = Spherical()
    return SCORERS[key].build(seed=0, **options)


def test_higher_is_more_anomalous(key: str) -> None:
    """Polarity the other way round: every AUROC mirrored. Farther from the normal images means a higher score."""
    direction = np.array([1, -1, 0.5, 0, 2, -1], np.float32)
    queries = np.stack([normal().mean(axis=0) + length * direction for length in (0, 3, 6, 20, 100)])
    scores = build(key).fit(normal()).score(queries)
    if key == "ocsvm":  # bounded: whatever is far outside is equally so; negative inside
        assert (np.diff(scores) >= 0).all() and scores[0] < 0 < scores[1] < scores[2]
        return
    assert (np.diff(scores) > 0).all()
    assert (scores >= 0).all()


def test_one_float32_for_each_image(key: str) -> None:
    """Scores of another shape or type than what is saved and compared bit for bit."""
    scorer = build(key).fit(normal())
    for count in (1, 2, 33):
        scores = scorer.score(normal(count, seed=1))
        assert scores.shape == (count,) and scores.dtype == np.float32
    assert build(key).fit(normal().astype(np.float64)).score(normal(3, seed=1).astype(np.float64)).dtype == np.float32


def test_fit_returns_the_scorer_and_is_reproducible(key: str) -> None:
    """Scores that change from run to run, or depend on an earlier fit."""
    scorer = build(key)
    assert scorer.fit(normal(seed=5)) is scorer
    again = scorer.fit(normal())
    np.testing.assert_array_equal(again.score(normal(9, seed=1)), build(key).fit(normal()).score(normal(9, seed=1)))


def test_a_score_does_not_depend_on_other_queries(key: str) -> None:
    """An image's score that depends on which images it was scored with."""
    scorer, queries = build(key).fit(normal()), normal(50, seed=1)
    whole = scorer.score(queries)
    alone = np.concatenate([scorer.score(query[None]) for query in queries])
    np.testing.assert_allclose(alone, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scorer.score(queries[::-1]), whole[::-1], rtol=1e-4, atol=1e-5)


def test_the_order_of_normal_images_does_not_matter(key: str) -> None:
    """A scorer for which the first images of a folder are special."""
    queries, order = normal(20, seed=1), np.random.default_rng(2).permutation(60)
    options = {"means": 3} if key == "kmeans" else {}
    blobs = normal() + 20 * (np.arange(60) % 3)[:, None].astype(np.float32)  # k-means has one good answer here
    shuffled = build(key, **options).fit(blobs[order]).score(queries)
    np.testing.assert_allclose(shuffled, build(key, **options).fit(blobs).score(queries), rtol=1e-3, atol=1e-4)


def test_rotating_the_space_changes_nothing(key: str) -> None:
    """A scorer that prefers some coordinates to others."""
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))
    turn = rotation.astype(np.float32)
    queries = normal(20, seed=1)
    plain = build(key).fit(normal()).score(queries)
    options = {"rtol": 2e-3, "atol": 1e-3}
    if key == "kmeans":  # k-means++ draws by distances, which rounding changes: compare where there is one answer
        blobs = normal() + 20 * (np.arange(60) % 3)[:, None].astype(np.float32)
        plain = build(key, means=3).fit(blobs).score(queries)
        np.testing.assert_allclose(build(key, means=3).fit(blobs @ turn).score(queries @ turn), plain, **options)
    else:
        np.testing.assert_allclose(build(key).fit(normal() @ turn).score(queries @ turn), plain, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(key: str, bad: float) -> None:
    """NaN features after a run that blew up, scored as the most normal of all."""
    broken = normal(20)
    broken[3, 2] = bad
    with pytest.raises(UsageError, match=r"finite.*--lr"):
        build(key).fit(broken)
    with pytest.raises(UsageError, match="finite"):
        build(key).fit(normal()).score(broken)


@pytest.mark.parametrize("shape", [(0, 6), (6,), (2, 3, 6)])
def test_a_wrong_shape_is_refused(key: str, shape: tuple[int, ...]) -> None:
    """Features broadcast to a meaningless score."""
    with pytest.raises(UsageError, match="shape"):
        build(key).fit(np.zeros(shape, np.float32))


def test_duplicates_and_collapsed_features_give_finite_scores(key: str) -> None:
    """A division by zero where all normal images are one point, or where one is there many times."""
    point = np.full((30, 6), 0.7, np.float32)
    for gallery in (point, np.concatenate([point, normal(30)])):
        scores = build(key, **({"means": 1} if key == "kmeans" else {})).fit(gallery).score(normal(8, seed=1))
        assert np.isfinite(scores).all()


def test_inputs_stay_as_they_are(key: str) -> None:
    """A scorer that centers or scales the arrays of its caller."""
    gallery, queries = normal(), normal(8, seed=1)
    before = gallery.copy(), queries.copy()
    build(key).fit(gallery).score(queries)
    np.testing.assert_array_equal(gallery, before[0])
    np.testing.assert_array_equal(queries, before[1])


def test_the_row_is_complete(key: str) -> None:
    """A scorer without a name, or whose option its own constructor does not know."""
    row = find_scorer(key)
    assert row.title and row.source
    for name, option in row.options.items():
        assert option.help
        build(key, **{name: option.default})


def test_unknown_names_list_the_known_ones(key: str) -> None:
    """A misspelt scorer replaced by the default."""
    with pytest.raises(UsageError, match=rf"Unknown scorer `{key}s`; known: .*`{key}`.*--scorer "):
        find_scorer(key + "s")
