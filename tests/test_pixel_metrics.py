"""Pixel metrics against scikit-learn, a slow twin and hand-worked maps."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from panda_core.errors import UsageError
from panda_core.pixel_metrics import Pairs, PixelMetrics, at_threshold, pixel_metrics

Image = tuple[np.ndarray, np.ndarray]


def pairs_of(*images: Image) -> Pairs:
    return lambda: iter(images)


@st.composite
def few_images(draw: st.DrawFn) -> list[Image]:
    """Return one to three small maps with masks, of at most `levels` scores: mostly ties, or hardly any."""
    levels = draw(st.sampled_from([2, 5, 1000]))
    images = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6))
        scores = draw(arrays(np.int16, shape, elements=st.integers(-levels, levels)))
        images.append((scores.astype(np.float32) / 8, draw(arrays(np.bool_, shape))))
    return images


def has_both(images: list[Image]) -> bool:
    masks = np.concatenate([mask.ravel() for _, mask in images])
    return bool(masks.any() and not masks.all())


def components(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the pixels of each 8-connected defect, found by walking."""
    left = set(zip(*np.nonzero(mask), strict=True))
    found = []
    while left:
        walk = [left.pop()]
        for y, x in walk:
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            walk += near
        found.append(walk)
    return found


def slow_aupro(images: list[Image], limit: float) -> float:
    """Return the area under (FPR, PRO) of every threshold there is, one after the other."""
    curve = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([scores.ravel() for scores, _ in images]))[::-1]:
        false = sum(np.count_nonzero((scores >= threshold) & ~mask) for scores, mask in images)
        normals = sum(np.count_nonzero(~mask) for _, mask in images)
        recalls = [
            np.mean([scores[pixel] >= threshold for pixel in defect])
            for scores, mask in images
            for defect in components(mask)
        ]
        curve.append((false / normals, float(np.mean(recalls))))
    area = 0.0
    for (low, before), (high, after) in itertools.pairwise(curve):
        if low >= limit:
            break
        if high > limit:
            high, after = limit, before + (after - before) * (limit - low) / (high - low)
        area += (high - low) * (before + after) / 2
    return area / limit


@settings(deadline=None, max_examples=60)
@given(few_images().filter(has_both), st.sampled_from([0.05, 0.3, 0.5, 1.0]))
def test_all_metrics_equal_slow_and_independent_ones(images: list[Image], limit: float) -> None:
    """Ties won or lost, defects weighted by size, pixels of one image ranked only among themselves."""
    value = pixel_metrics(pairs_of(*images), fpr_limit=limit)
    scores = np.concatenate([scores.ravel() for scores, _ in images])
    labels = np.concatenate([mask.ravel() for _, mask in images])
    assert value.auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert value.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert value.aupro == pytest.approx(slow_aupro(images, limit), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(few_images().filter(has_both))
def test_max_f1_is_the_best_of_all_thresholds_and_is_reached(images: list[Image]) -> None:
    """A threshold that flags one score more or less than the F1 beside it was computed for."""
    value = pixel_metrics(pairs_of(*images))
    scores = np.unique(np.concatenate([scores.ravel() for scores, _ in images]))
    every = [at_threshold(pairs_of(*images), float(threshold)) for threshold in [scores[0] - 1, *scores]]
    assert value.max_f1 == pytest.approx(max(counts.f1 or 0 for counts in every), abs=1e-12)
    assert value.max_f1_threshold is not None
    assert at_threshold(pairs_of(*images), value.max_f1_threshold).f1 == pytest.approx(value.max_f1, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(few_images().filter(has_both))
def test_metrics_depend_on_the_order_of_scores_alone(images: list[Image]) -> None:
    """Scores rescaled per image, clamped or rounded on the way: increasing maps change nothing, negation mirrors."""
    value = pixel_metrics(pairs_of(*images))
    grown = pixel_metrics(pairs_of(*[(np.float64(scores) ** 3 + 7 * scores, mask) for scores, mask in images]))
    for name in ("auroc", "aupro", "average_precision", "max_f1"):
        assert getattr(grown, name) == pytest.approx(getattr(value, name), abs=1e-12)
    mirrored = pixel_metrics(pairs_of(*[(-scores, mask) for scores, mask in images]))
    assert value.auroc is not None
    assert mirrored.auroc == pytest.approx(1 - value.auroc, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(few_images().filter(has_both), st.integers(-8, 8))
def test_counts_at_a_threshold_equal_plain_counting(images: list[Image], eighths: int) -> None:
    """Cells swapped, or a defect counted as hit once for each of its pixels."""
    threshold = eighths / 8
    counts = at_threshold(pairs_of(*images), threshold)
    cells = [(bool(s > threshold), bool(m)) for scores, mask in images for s, m in zip(scores.flat, mask.flat)]  # noqa: B905
    assert counts.true_positives == cells.count((True, True))
    assert counts.false_positives == cells.count((True, False))
    assert counts.false_negatives == cells.count((False, True))
    assert counts.true_negatives == cells.count((False, False))
    defects = [[scores[pixel] > threshold for pixel in each] for scores, mask in images for each in components(mask)]
    assert (counts.defects, counts.defects_hit) == (len(defects), sum(map(any, defects)))


def test_ratios_at_a_threshold() -> None:
    """Precision for recall, F1 for IoU; a division by nothing that stops the page."""
    scores = np.array([[3, 3, 1, 0, 0, 3]], np.float32)
    mask = np.array([[1, 1, 1, 0, 1, 0]], bool)
    counts = at_threshold(pairs_of((scores, mask)), 2.0)
    assert (counts.precision, counts.recall, counts.f1) == (2 / 3, 2 / 4, 4 / 7)
    assert (counts.iou, counts.hit_share) == (2 / 5, 1 / 2)
    nothing = at_threshold(pairs_of((scores, np.zeros((1, 6), bool))), 9.0)
    assert (nothing.precision, nothing.recall, nothing.f1, nothing.iou, nothing.hit_share) == (None,) * 5


def test_perfect_and_constant_maps() -> None:
    """Swapped polarity; a constant map that is worth more, or less, than guessing."""
    mask = np.zeros((6, 6), bool)
    mask[1:3, 1:3] = mask[5, 5] = True
    normal = np.zeros((4, 4), bool)
    perfect = pixel_metrics(pairs_of((mask.astype(np.float32), mask), (np.zeros((4, 4), np.float32), normal)))
    assert (perfect.auroc, perfect.aupro, perfect.average_precision, perfect.max_f1) == (1, 1, 1, 1)
    constant = pixel_metrics(pairs_of((np.ones((6, 6), np.float32), mask)))
    assert constant.auroc == pytest.approx(0.5)
    assert constant.aupro == pytest.approx(0.15)
    assert constant.average_precision == pytest.approx(5 / 36)


def test_a_small_defect_counts_as_much_as_a_large_one() -> None:
    """PRO weighted by pixels: one pixel of 21 found is half of the defects, not a twenty-first of them."""
    mask = np.zeros((8, 8), bool)
    mask[:4, :5] = mask[7, 7] = True
    scores = np.ones((8, 8), np.float32)
    scores[7, 7], scores[:4, :5] = 2, 0
    assert pixel_metrics(pairs_of((scores, mask))).aupro == pytest.approx(0.5)


def test_pixels_that_touch_at_a_corner_are_one_defect() -> None:
    """4-connectivity: two defects of one pixel instead of one of two, so that a third weighs a third, not half."""
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[5, 5] = True
    scores = np.ones((6, 6), np.float32)
    scores[5, 5], scores[0, 0], scores[1, 1] = 2, 0, 0
    assert pixel_metrics(pairs_of((scores, mask))).aupro == pytest.approx(0.5)
    assert at_threshold(pairs_of((scores, mask)), 1.5).hit_share == 0.5


@pytest.mark.parametrize("defective", [True, False])
def test_one_kind_of_pixels_has_no_metrics(defective: bool) -> None:
    """0 or 0.5 reported where nothing is defined."""
    image = (np.random.default_rng(0).random((3, 3), np.float32), np.full((3, 3), defective))
    assert pixel_metrics(pairs_of(image)) == PixelMetrics(None, None, None, None, None)
    assert pixel_metrics(pairs_of()) == PixelMetrics(None, None, None, None, None)


@pytest.mark.parametrize(
    ("scores", "mask", "what"),
    [
        (np.full((2, 2), np.nan, np.float32), np.eye(2, dtype=bool), "finite"),
        (np.full((2, 2), np.inf, np.float32), np.zeros((2, 2), bool), "finite"),
        (np.zeros((2, 2), np.float32), np.eye(3, dtype=bool), "one shape"),
        (np.zeros(4, np.float32), np.zeros(4, bool), "one shape"),
        (np.zeros((2, 2), np.float32), np.full((2, 2), 255, np.uint8), "bool"),
        (np.zeros((2, 2), np.uint8), np.eye(2, dtype=bool), "floating"),
    ],
)
def test_maps_without_a_meaning_are_refused(scores: np.ndarray, mask: np.ndarray, what: str) -> None:
    """NaN sorted as the largest score; a mask of 0 and 255 inverted bit by bit; a mask of another size."""
    for call in (lambda: pixel_metrics(pairs_of((scores, mask))), lambda: at_threshold(pairs_of((scores, mask)), 0.5)):
        with pytest.raises(UsageError, match=what):
            call()


def test_an_iterator_that_can_only_be_read_once_is_refused() -> None:
    """Perfect figures from a second pass that saw no normal pixel."""
    image = (np.zeros((3, 3), np.float32), np.eye(3, dtype=bool))
    once = iter([image])
    with pytest.raises(UsageError, match="every call"):
        pixel_metrics(lambda: once)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1, float("nan")])
def test_impossible_limits_are_refused(limit: float) -> None:
    """A division by zero, or an area beyond the end of the curve."""
    with pytest.raises(UsageError, match="fpr_limit"):
        pixel_metrics(pairs_of(), fpr_limit=limit)


@pytest.mark.parametrize(("share", "bytes_a_pixel"), [(1 / 64, 1.0), (1 / 2, 10.0)])
def test_memory_grows_with_defective_pixels_only(share: float, bytes_a_pixel: float) -> None:
    """All maps held at once, or sorted: 4 + 8 bytes for each pixel of a test set. The maps are made on the fly here."""
    side, count = 128, 64

    def made() -> Iterator[Image]:
        rng = np.random.default_rng(0)
        for _ in range(count):
            mask = np.zeros((side, side), bool)
            mask[: round(side * share)] = True
            yield rng.random((side, side), np.float32), mask

    tracemalloc.start()
    pixel_metrics(made)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one_image = 40 * side * side
    assert peak < bytes_a_pixel * count * side * side + one_image
