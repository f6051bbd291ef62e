"""What a segmentation run measures of its maps, where it is known which pixels are defective."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from panda_core.datasets import Masks
from panda_core.errors import UnreadableImage
from panda_core.events import SegmentationEvaluated, mask_of
from panda_core.metrics import auroc, auroc_interval
from panda_core.pixel_metrics import PixelMetrics, pixel_metrics
from panda_core.region import Region
from panda_core.runs.segment.settings import SegmentPlan
from panda_core.segmentation.maps import full_map, map_shape
from panda_core.segmentation.results import PatchResult
from panda_core.segmentation.tiles import drawing_of


def find_marked(
    masks: Masks | None, rows: np.ndarray, names: Sequence[str], region: Region | None = None
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Return (M,) whether the defective pixels of each test image are known, and (name, reason) of unused masks.

    Unused are those that cannot be read, and those that mark nothing in the region of interest.
    """
    marked, unused = np.zeros(len(rows), bool), []
    for index, row in enumerate(rows if masks is not None else []):
        try:
            mask = masks.load(int(row)) if masks is not None else None
        except UnreadableImage as error:
            unused.append((mask_of(names[row]), str(error)))
            continue
        marked[index] = mask is not None
        if region is not None and mask is not None and mask.any() and not (mask & region.inside(mask.shape)).any():
            told = "All that it marks lies outside of the region of interest; its image still counts as anomalous."
            unused.append((mask_of(names[row]), told))
            marked[index] = False
    return marked, unused


def measured(
    plan: SegmentPlan, step: int, result: PatchResult, rows: np.ndarray, marked: np.ndarray, started: float
) -> SegmentationEvaluated:
    """Return the metrics of a step over the test images `rows`. started: when it began, by the monotonic clock."""
    labels = plan.task.is_anomaly[rows]
    low, high = auroc_interval(result.scores, labels, rng=np.random.default_rng([plan.config.seed, 3]))
    pixels = measured_pixels(plan, result.grids, rows, marked, np.arange(len(rows)))
    return SegmentationEvaluated(
        step=step,
        image_auroc=auroc(result.scores, labels),
        image_auroc_low=low,
        image_auroc_high=high,
        pixel_auroc=pixels.auroc,
        aupro=pixels.aupro,
        pixel_average_precision=pixels.average_precision,
        oracle_pixel_f1=pixels.max_f1,
        seconds=time.monotonic() - started,
    )


def measured_pixels(
    plan: SegmentPlan, grids: np.ndarray, rows: np.ndarray, marked: np.ndarray, chosen: np.ndarray
) -> PixelMetrics:
    """Return the pixel metrics of those of the `chosen` test images whose defects are marked."""
    size, sigma = drawing_of(plan.config)
    region = plan.network.preprocessing.region

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for index in chosen:
            mask = plan.task.masks.load(int(rows[index])) if plan.task.masks and marked[index] else None
            if mask is not None:
                values = full_map(grids[index], size, sigma, region)
                yield values, resized_mask(mask, values.shape)

    return pixel_metrics(pairs, counted=None if region is None else region.inside(map_shape(grids.shape[1:], size)))


def resized_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask (H, W) as bool of `shape` (h, w), by nearest neighbour: no pixel becomes half defective."""
    return cv2.resize(mask.astype(np.uint8), shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def measured_kinds(
    plan: SegmentPlan, grids: np.ndarray, scores: np.ndarray, rows: np.ndarray, marked: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Return the metrics of each kind of anomaly against all normal test images, where kinds have names."""
    if plan.task.kinds is None:
        return {}
    kinds, labels = plan.task.kinds[rows], plan.task.is_anomaly[rows]
    by_kind = {}
    for kind in np.unique(kinds[labels == 1]):
        (chosen,) = np.nonzero((kinds == kind) | (labels == 0))
        pixels = measured_pixels(plan, grids, rows, marked, chosen)
        by_kind[str(kind)] = {
            "images": int((kinds == kind).sum()),
            "image_auroc": auroc(scores[chosen], labels[chosen]),
            "pixel_auroc": pixels.auroc,
            "aupro": pixels.aupro,
        }
    return by_kind
