"""Metrics of maps against masks, exact, without ever holding all maps: what defective pixels score decides them all.

Every figure here is a mean, over the defective pixels, of something that depends only on how many normal and how
many defective pixels score above, and equal to, that pixel. So the scores of the defective pixels are kept and
sorted, and the normal ones are merely counted between them as they pass by. For the AUPRO this reads: raised by one
pixel of a component c at the false-positive rates f0 (above it) to f1 (with its ties), PRO grows by
1 / (|c| components), linearly in between, and stays; the area under that ramp up to the limit L is `_ramp_area`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from panda_core.errors import UsageError

# Called anew for every pass; yields (map, mask) of one image after the other. map: floating (H, W), higher = more
# anomalous; mask: bool (H, W), True where defective. Both passes must see the same values.
Pairs = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class PixelMetrics:
    """Metrics over all pixels of all images, pooled; None where a set has no defective or no normal pixel.

    max_f1 is an oracle: its threshold is the best one for these very labels. A pixel is flagged where its score
    is > max_f1_threshold; of equally good thresholds it is the highest.
    """

    auroc: float | None
    aupro: float | None
    average_precision: float | None
    max_f1: float | None
    max_f1_threshold: float | None


@dataclasses.dataclass(frozen=True)
class PixelCounts:
    """What one threshold flags: pixels in the four cells, and connected defects touched. Ratios of nothing are None."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    defects: int
    defects_hit: int

    @property
    def precision(self) -> float | None:
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        wrong = self.false_positives + self.false_negatives
        return _ratio(2 * self.true_positives, 2 * self.true_positives + wrong)

    @property
    def iou(self) -> float | None:
        """Intersection of flagged and defective pixels over their union."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives + self.false_negatives)

    @property
    def hit_share(self) -> float | None:
        """Share of the connected defects of which at least one pixel is flagged."""
        return _ratio(self.defects_hit, self.defects)


def pixel_metrics(pairs: Pairs, *, fpr_limit: float = 0.3, counted: np.ndarray | None = None) -> PixelMetrics:
    """Return the exact metrics of all (map, mask) of `pairs`, which is called twice.

    AUROC counts ties half. AUPRO: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021: the area under
    the mean recall of the connected defects (8-connectivity, all of equal weight) over the pixels' false-positive
    rate, up to `fpr_limit` in (0, 1], divided by it; linear between the points of distinct scores, so a constant map
    scores fpr_limit / 2. Average precision as scikit-learn defines it. counted: which pixels (H, W) of every map count,
    bool; None: all. Memory: about 16 bytes for each defective
    pixel of float32 maps, whatever the number of normal ones.
    """
    if not 0 < fpr_limit <= 1:
        raise UsageError(f"`fpr_limit` must be in (0, 1]; got {fpr_limit}. The usual value is 0.3.")
    groups, normals = _defective_scores(pairs, counted)
    if not groups or not normals:
        return PixelMetrics(None, None, None, None, None)
    ordered = np.concatenate([scores for scores, _ in groups])
    ordered.sort()
    above, tied = _count_normals(pairs, ordered, normals, counted)
    total, components = len(ordered), sum(len(sizes) for _, sizes in groups)
    area = pro = precision_sum = 0.0
    best = (-1.0, 0.0)
    for scores, sizes in groups:
        first = np.searchsorted(ordered, scores)  # where the run of the pixel's own ties begins
        false, tie = above[first].astype(np.float64), tied[first]
        flagged_defective, flagged_normal = total - first, false + tie
        low, high = false / normals, flagged_normal / normals
        area += _ramp_area(low, high, 1.0).sum()
        starts = np.cumsum(sizes) - sizes
        pro += (np.add.reduceat(_ramp_area(low, high, fpr_limit), starts) / sizes).sum()
        precision_sum += (flagged_defective / (flagged_defective + flagged_normal)).sum()
        f1 = 2 * flagged_defective / (flagged_defective + flagged_normal + total)
        lowest = scores[f1 == f1.max()].max()  # the least score that is flagged
        best = max(best, (float(f1.max()), float(np.nextafter(lowest, lowest.dtype.type(-np.inf)))))
    return PixelMetrics(
        auroc=float(area / total),
        aupro=float(pro / components / fpr_limit),
        average_precision=float(precision_sum / total),
        max_f1=best[0],
        max_f1_threshold=best[1],
    )


def at_threshold(pairs: Pairs, threshold: float, counted: np.ndarray | None = None) -> PixelCounts:
    """Return what is right and wrong where the pixels with a score > `threshold` are called defective; one pass.

    counted: see `pixel_metrics`.
    """
    hits = false_alarms = defective = pixels = defects = defects_hit = 0
    for scores, mask, normal in _checked(pairs, counted):
        flagged = scores > threshold
        count, components = _components(mask)
        defects += count
        defects_hit += len(np.unique(components[flagged & mask]))
        hits += int(np.count_nonzero(flagged & mask))
        false_alarms += int(np.count_nonzero(flagged & normal))
        defective += int(np.count_nonzero(mask))
        pixels += int(np.count_nonzero(mask | normal))
    return PixelCounts(
        true_positives=hits,
        false_positives=false_alarms,
        false_negatives=defective - hits,
        true_negatives=pixels - defective - false_alarms,
        defects=defects,
        defects_hit=defects_hit,
    )


def _defective_scores(pairs: Pairs, counted: np.ndarray | None) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Return, of each image with a defect, its defective scores, component by component, and the components' sizes.

    The second value is the number of normal pixels of all images.
    """
    groups, normals = [], 0
    for scores, mask, normal in _checked(pairs, counted):
        normals += int(np.count_nonzero(normal))
        if mask.any():
            components = _components(mask)[1][mask]
            order = np.argsort(components, kind="stable")
            groups.append((scores[mask][order], np.bincount(components)[1:].astype(np.int32)))
    return groups, normals


def _count_normals(
    pairs: Pairs, ordered: np.ndarray, normals: int, counted: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many normal pixels score above, and exactly, ordered[i], at the first i of each run of ties.

    ordered: (P,) ascending. Nobody looks at the other places of a run.
    """
    kind = np.uint32 if normals < 2**32 else np.uint64
    below, tied = np.zeros(len(ordered) + 1, kind), np.zeros(len(ordered), kind)
    seen = 0
    for scores, _, normal in _checked(pairs, counted):
        found = np.sort(scores[normal])  # neighbours in order are looked up several times faster
        seen += len(found)
        place = np.searchsorted(ordered, found)
        is_tie = ordered[np.minimum(place, len(ordered) - 1)] == found
        np.add.at(tied, place[is_tie], kind(1))
        np.add.at(below, place[~is_tie], kind(1))  # under ordered[place] and above the score before it
    if seen != normals:
        raise UsageError(
            f"`pairs` must yield the same maps and masks at every call; it yielded {normals} normal pixels, then "
            f"{seen}. Pass a function that starts a new iterator."
        )
    np.add(below[:-1], tied, out=below[:-1])
    np.cumsum(below[::-1], dtype=kind, out=below[::-1])  # what lies above ordered[i] is counted at the places after i
    return below[1:], tied


def _ramp_area(low: np.ndarray, high: np.ndarray, limit: float) -> np.ndarray:
    """Return the area from 0 to `limit` under a curve that is 0 up to `low`, rises to 1 at `high`, and stays.

    low, high: (P,) with low <= high; where they are equal, the curve is a step.
    """
    over = np.maximum(limit - low, 0)  # a ramp cut by the limit is a triangle of this base ...
    width = np.maximum(high - low, np.finfo(np.float64).tiny)
    return np.where(high <= limit, limit - (low + high) / 2, over * over / (2 * width))  # ... and height over / width


def _components(mask: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many connected defects a mask (H, W) has, and which of 1, 2, ... each pixel belongs to; 0: none."""
    count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count - 1, components


def _checked(pairs: Pairs, counted: np.ndarray | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each map, which of its pixels are defective, and which are normal, among those that count."""
    for place, (scores, mask) in enumerate(pairs()):
        if scores.ndim != 2 or scores.shape != mask.shape:
            raise UsageError(
                f"A map and its mask must be of one shape (H, W); image {place} has {scores.shape} and {mask.shape}."
            )
        if not np.issubdtype(scores.dtype, np.floating) or mask.dtype != np.bool_:
            raise UsageError(
                f"A map must be floating and a mask bool; image {place} has {scores.dtype} and {mask.dtype}. "
                "Pass `map.astype(np.float32)` and `mask > 0`."
            )
        if not np.isfinite(scores).all():
            bad = np.count_nonzero(~np.isfinite(scores))
            raise UsageError(f"The scores of a map must be finite; {bad} of {scores.size} of image {place} are not.")
        yield (scores, mask, ~mask) if counted is None else (scores, mask & counted, ~mask & counted)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
