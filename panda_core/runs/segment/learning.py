"""From the normal images of a run to a fitted and calibrated model: all patches at once, or streamed."""

from __future__ import annotations

import numpy as np

from panda_core.datasets import Images
from panda_core.errors import UsageError
from panda_core.events import Computing, quietly
from panda_core.linalg import Moments
from panda_core.runs.data import check_enough
from panda_core.runs.segment.reading import ReadRows, read_batches
from panda_core.runs.segment.settings import SegmentPlan
from panda_core.segmentation.calibration import ENOUGH, CalibratedBank, fit_calibrated, folds_of
from panda_core.segmentation.method import Compared
from panda_core.segmentation.model import PatchModel
from panda_core.segmentation.results import Patches, PatchResult


def learn(
    plan: SegmentPlan, model: PatchModel, first: bool, originals: np.ndarray
) -> Computing[tuple[CalibratedBank, ReadRows]]:
    """Return what the model, now fitted to the normal images, was calibrated with, and which images were read.

    originals: rows of the training images that are no copies.
    """
    if model.method_class.streams:
        return (yield from _learn_streamed(plan, model, first, originals))
    batches: list[Patches] = []
    read = yield from read_batches(
        plan.task.train.subset(originals),
        "train",
        first,
        lambda rows, images: batches.append(_checked(plan, model, images)),
    )
    read = ReadRows(originals[read.rows], read.skipped)
    reserved = np.isin(read.rows, plan.task.reserved)
    check_enough(int(np.count_nonzero(~reserved)), least=_least(model))
    raw = Patches.joined(batches)
    batches.clear()
    bank = yield from fit_calibrated(model, raw, len(read.rows), reserved)
    return bank, read


def _least(model: PatchModel) -> int:
    """Return how many normal images are enough: one is compared with its own turned copies, to calibrate."""
    return 1 if model.rotations > 1 else 2


def _checked(plan: SegmentPlan, model: PatchModel, images: list[np.ndarray]) -> Patches:
    """Return the raw patches of normal images; refuse, before anything grows, what will not fit into memory."""
    if not model.widths:
        needed, limit = model.bytes_for(images[0], len(plan.task.train)), float(plan.config.set["memory_gb"]) * 1e9
        if needed > limit:
            most = max(2, int(len(plan.task.train) * limit / needed))
            raise UsageError(
                f"The patches of {len(plan.task.train)} normal images need {needed / 1e9:.1f} GB; `memory_gb` allows "
                f"{limit / 1e9:g}. Set `--train-limit {most}`, a smaller `--image-size`"
                f"{'' if model.tiles is None else ', fewer `--tiles`'}"
                f"{', fewer `--set rotations=`' if model.rotations > 1 else ''}, or more `--set memory_gb=`."
            )
    return model.patches(images, model.rotations)


def _learn_streamed(
    plan: SegmentPlan, model: PatchModel, first: bool, originals: np.ndarray
) -> Computing[tuple[CalibratedBank, ReadRows]]:
    """As `learn`, for a method that needs moments alone: no patches are kept, images that calibrate are read twice.

    The folds are those of `fit_calibrated`, drawn among all images, and not among those that can be decoded.
    """
    images, apart = plan.task.train.subset(originals), np.isin(originals, plan.task.reserved)
    (own,) = np.nonzero(~apart)
    folds = [own[fold] for fold in folds_of(len(own), model.seed)[1]]
    fold_of = np.full(len(originals), len(folds))  # those of no fold are in a last group that judges none
    for number, fold in enumerate(folds):
        fold_of[fold] = number
    seen: dict[int, list[Moments]] = {}

    def take(rows: list[int], decoded: list[np.ndarray]) -> None:
        raw = _checked(plan, model, decoded)
        if not model.spaces:
            model.fit_spaces(raw)
        patches = model.in_space(raw)
        for copy, row in enumerate(np.repeat(rows, model.rotations)):
            if not apart[row]:
                # The turned copies of an only image are what it is compared with.
                turned = len(own) == 1 and copy % model.rotations > 0
                key = len(folds) if turned else int(fold_of[row])
                parts = seen.setdefault(key, [Moments(group.shape[-1]) for group in patches.groups])
                one = patches.rows(np.array([copy]))
                for number, moments in enumerate(parts):
                    moments.add(one.listed(number).reshape(-1, patches.groups[number].shape[-1]))

    read = yield from read_batches(images, "train", first, take)
    known = own[np.isin(own, read.rows)]
    check_enough(len(known), least=_least(model))
    held_out: list[np.ndarray] = []
    results: list[PatchResult] = []
    for number, fold in enumerate(folds):
        others = [moments for group, moments in seen.items() if group != number]
        model.fit_moments(others)
        rows, compared = yield from _compared(model, images, fold)
        if not results and compared:
            model.set_scales(compared)
        results += [model.judged(batch, Patches([], None)) for batch in compared]
        held_out.append(rows)
    if len(own) < ENOUGH:
        model.fit_moments(list(seen.values()))
    rows, compared = yield from _compared(model, images, np.nonzero(apart)[0])
    results += [model.judged(batch, Patches([], None)) for batch in compared]
    calibrating = np.concatenate([*held_out, rows])
    order, result = np.argsort(calibrating), PatchResult.joined(results)
    scores = model.calibrate(result.scores, result.whole)[order]
    bank = known if len(own) < ENOUGH else np.setdiff1d(known, calibrating)
    held, fitted = (np.searchsorted(read.rows, rows) for rows in (calibrating[order], bank))
    return CalibratedBank(held, result.grids[order], scores, fitted), ReadRows(originals[read.rows], read.skipped)


def _compared(
    model: PatchModel, images: Images, rows: np.ndarray
) -> Computing[tuple[np.ndarray, list[list[Compared]]]]:
    """Return which of the images at `rows` could be read, and how far their patches lie from normal ones."""
    batches: list[list[Compared]] = []

    def take(places: list[int], decoded: list[np.ndarray]) -> None:
        batches.append(model.compare(model.in_space(model.patches(decoded))))

    read = yield from quietly(read_batches(images.subset(rows), "train", False, take))
    return rows[read.rows], batches
