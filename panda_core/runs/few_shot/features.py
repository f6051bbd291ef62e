"""The features of a run that generalises, read once and kept in memory: seen classes, references, test images."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch
from torch import Tensor

from panda_core.datasets import Images, Masks, digests
from panda_core.errors import PandaError, UnreadableImage, UsageError
from panda_core.events import Computing
from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.trainer import Seen
from panda_core.runs.few_shot.data import FewShotPlan, SeenClass
from panda_core.runs.segment.reading import read_batches

HELD_OUT_SHARE = 0.1  # of the normals of each seen class, at least 2: they calibrate scores and thresholds
Features = list[np.ndarray]  # (N, h, w, C), float16, for each level


@dataclasses.dataclass(frozen=True)
class ReadFeatures:
    """Features of images that could be decoded, their rows, and (name, reason) of the others."""

    features: Features
    rows: np.ndarray
    skipped: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class DrawnReferences:
    """References of the new class: features (K, h, w, C) for each level, and their rows of its training images."""

    features: list[Tensor]
    rows: np.ndarray
    skipped: list[tuple[str, str]]


def read_features(model: ResidualModel, images: Images, split: str) -> Computing[ReadFeatures]:
    """Yield progress; return the features of all images that can be decoded."""
    batches: list[Features] = []

    def take(rows: list[int], decoded: list[np.ndarray]) -> None:
        batches.append([level.cpu().numpy().astype(np.float16) for level in model.features(decoded)])

    read = yield from read_batches(images, split, first=True, take=take)
    joined = [np.concatenate(level) for level in zip(*batches, strict=True)] if batches else []
    return ReadFeatures(joined, read.rows, read.skipped)


def read_seen(plan: FewShotPlan, model: ResidualModel) -> Computing[tuple[Seen, list[Tensor], np.ndarray]]:
    """Yield progress; return what is trained on, features of held-out normals of the seen classes, and their owners.

    Raises `UsageError`, before anything grows, where the features will not fit into the memory allowed.
    """
    _check_memory(plan, model)
    features: list[Features] = []
    abnormal: list[list[np.ndarray]] = []
    owner: list[int] = []
    normal: list[bool] = []
    held_out: list[Features] = []
    held_owner: list[int] = []
    for number, one in enumerate(plan.seen):
        read = yield from read_features(model, one.normals, "seen")
        if len(read.rows) < 4:
            raise PandaError(f"Only {len(read.rows)} normal images of `{one.name}` could be decoded; 4 are needed.")
        order = np.random.default_rng([plan.config.seed, 1, number]).permutation(len(read.rows))
        apart = max(2, round(HELD_OUT_SHARE * len(order)))
        apart_rows, train_rows = np.sort(order[:apart]), np.sort(order[apart:])
        held_out.append([level[apart_rows] for level in read.features])
        held_owner += [number] * apart
        features.append([level[train_rows] for level in read.features])
        abnormal.append([np.zeros(level[train_rows].shape[:3], bool) for level in read.features])
        owner += [number] * len(train_rows)
        normal += [True] * len(train_rows)
        if one.anomalies is not None and len(one.anomalies):
            # DrawnReferences into normal images in their order: those of held-out images stay out as well.
            chosen = np.setdiff1d(np.arange(len(one.anomalies)), read.rows[apart_rows]) if one.drawn else None
            anomalies = one if chosen is None else one.subset(chosen)
            read_anomalies, positions = yield from _read_anomalies(model, anomalies)
            features.append(read_anomalies.features)
            abnormal.append(positions)
            owner += [number] * len(read_anomalies.rows)
            normal += [False] * len(read_anomalies.rows)
    levels = range(len(model.levels))
    seen = Seen(
        [np.concatenate([part[level] for part in features if part]) for level in levels],
        np.array(owner),
        [np.concatenate([part[level] for part in abnormal if part]) for level in levels],
        np.array(normal, bool),
    )
    apart_levels = [np.concatenate([part[level] for part in held_out]).astype(np.float32) for level in levels]
    return seen, [torch.from_numpy(level).to(plan.device) for level in apart_levels], np.array(held_owner)


def _read_anomalies(model: ResidualModel, one: SeenClass) -> Computing[tuple[ReadFeatures, list[np.ndarray]]]:
    if one.anomalies is None:
        raise PandaError(f"`{one.name}` has no anomalies.")
    read = yield from read_features(model, one.anomalies, "seen anomalies")
    return read, abnormal_positions(one.masks, read.rows, [level.shape[1:3] for level in read.features])


def abnormal_positions(masks: Masks | None, rows: np.ndarray, sides: list[tuple[int, int]]) -> list[np.ndarray]:
    """Return which positions (N, h, w) of each level are abnormal: those with a defective pixel; all without masks."""
    if masks is None:
        return [np.ones((len(rows), *side), bool) for side in sides]
    abnormal = [np.zeros((len(rows), *side), bool) for side in sides]
    for index, row in enumerate(rows):
        mask = masks.load(int(row))
        for level, (high, wide) in enumerate(sides):
            if mask is not None:
                # Enlarged first where it is smaller than the grid: areas are only shrunk.
                large = cv2.resize(
                    mask.astype(np.uint8),
                    (max(wide, mask.shape[1]), max(high, mask.shape[0])),
                    interpolation=cv2.INTER_NEAREST_EXACT,
                )
                share = cv2.resize(large.astype(np.float32), (wide, high), interpolation=cv2.INTER_AREA)
                abnormal[level][index] = share > 0
    return abnormal


def draw_references(plan: FewShotPlan, model: ResidualModel, draw: int, originals: np.ndarray) -> DrawnReferences:
    """Return `references` normal images of the new class, drawn by the seed and the number of the draw.

    They come from its training images, not from those that are tested on, and of these from the rows `originals`, which
    are no copies of others; images that were trained on as a seen class are left out where enough others are there. One
    that cannot be decoded is passed over.
    """
    wanted, images = int(plan.config.set["references"]), plan.task.train
    used = {digest for one in plan.seen for digest in digests(one.normals)} | set(digests(plan.task.test))
    fresh = np.array([digest not in used for digest in digests(images)])
    order = np.random.default_rng([plan.config.seed, 7, draw]).permutation(len(images))
    order = np.concatenate([order[fresh[order]], order[~fresh[order]]])
    order = order[np.isin(order, originals)]
    decoded, rows, skipped = [], list[int](), []
    for row in order:
        if len(rows) == wanted:
            break
        try:
            decoded.append(images.load(int(row)))
            rows.append(int(row))
        except UnreadableImage as error:
            skipped.append((images.names[row], str(error)))
    if len(rows) < wanted:
        raise PandaError(f"Only {len(rows)} references could be decoded; {wanted} are needed. Add images.")
    return DrawnReferences([level.cpu().clone() for level in model.features(decoded)], np.array(rows), skipped)


def _check_memory(plan: FewShotPlan, model: ResidualModel) -> None:
    one = sum(2 * high * wide * width for (high, wide), width in zip(model.sides, model.widths, strict=True))
    count = sum(len(part.normals) + len(part.anomalies or ()) for part in plan.seen) + len(plan.task.test)
    needed, limit = 2 * one * count, float(plan.config.set["memory_gb"]) * 1e9  # twice: parts, then joined
    if needed > limit:
        raise UsageError(
            f"The features of {count} images need {needed / 1e9:.1f} GB; `memory_gb` allows {limit / 1e9:g}. "
            "Set a smaller `--set seen_limit=`, `--test-limit` or `--image-size`, or more `--set memory_gb=`."
        )
