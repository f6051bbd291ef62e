"""What normal images look like to a model that does not know them: the zero of every map and threshold."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from panda_core.events import Computing

if TYPE_CHECKING:
    from panda_core.segmentation.model import PatchModel
    from panda_core.segmentation.results import Patches, PatchResult

ENOUGH = 50  # normal images from which on a tenth of them is held out for good
SHARE = 0.1
FEWEST = 8  # normal images of which half can calibrate; of fewer all do, in spaces that have seen them
FOLDS = 5  # each costs a bank of its own: with ten, fifty photos would take a minute longer


@dataclasses.dataclass(frozen=True)
class CalibratedBank:
    """held_out: rows (H,), ascending, of the normal images that were compared with the others.

    grids: (H, g, g) and scores: (H,) of those. bank: rows of the images that the final bank holds.
    """

    held_out: np.ndarray
    grids: np.ndarray
    scores: np.ndarray
    bank: np.ndarray


def calibrating_images(count: int) -> int:
    """Return how many of `count` normal images calibrate."""
    if count >= ENOUGH:
        return round(SHARE * count)
    return count // 2 if count >= FEWEST else count


def folds_of(count: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the rows, ascending, to which the spaces are fitted, and groups of others that are compared with the rest.

    From 50 images on: one group, a tenth; the spaces are fitted to all others. With fewer, a tenth says too little, and
    half of the images calibrate, in five groups or as many as images (cross-calibration). The spaces are those of the
    other half, also in the end: one that had seen an image would bring it nearer, and one fitted anew to all images has
    another unit. With either, of forty images, a third of fresh normal ones was rejected where 5 % were promised.
    """
    shuffled = np.random.default_rng([seed, 1]).permutation(count)
    calibrating = calibrating_images(count)
    if count >= ENOUGH:
        return np.sort(shuffled[calibrating:]), [np.sort(shuffled[:calibrating])]
    groups = np.array_split(shuffled[:calibrating], min(calibrating, FOLDS))
    return np.sort(shuffled[calibrating % count :]), [np.sort(group) for group in groups]


def fit_calibrated(
    model: PatchModel, raw: Patches, count: int, reserved: np.ndarray | None = None
) -> Computing[CalibratedBank]:
    """Fit `model` to the raw patches of `count` normal images (each with its turned copies) and calibrate it.

    The distances of each group of levels are divided by their mean over the patches of the first images held out: 1
    then means "as far as normal patches usually lie", whatever the level. Where images are held out in turn, the final
    bank holds them all; it is a little denser than those of the calibration, which errs towards fewer alarms.
    reserved: (count,) bool, images that calibrate as well and that no space has seen and no bank ever holds.
    """
    apart = np.zeros(count, bool) if reserved is None else reserved
    (own,) = np.nonzero(~apart)
    space, groups = folds_of(len(own), model.seed)
    folds = [own[group] for group in groups]
    held_out = np.concatenate([*folds, np.nonzero(apart)[0]])
    bank = np.setdiff1d(own, held_out) if len(own) >= ENOUGH else own
    model.fit_spaces(raw.rows(_copies(own[space], model.rotations)))
    normal = model.in_space(raw)
    results: list[PatchResult] = []
    for fold in folds:
        others = np.setdiff1d(own, fold)
        if len(others):
            yield from model.fit(normal.rows(_copies(others, model.rotations)), others)
        else:  # the only image is compared with its own turned copies
            yield from model.fit(normal.rows(_copies(own, model.rotations)[1:]), own, model.rotations - 1)
        patches = normal.rows(fold * model.rotations)
        if not results:
            model.set_scales([model.compare(patches)])
        results.append(model.segment(patches))
    if len(bank) == len(own):
        yield from model.fit(normal.rows(_copies(bank, model.rotations)), bank)
    if apart.any():
        results.append(model.segment(normal.rows(np.nonzero(apart)[0] * model.rotations)))
    order = np.argsort(held_out)
    grids, scores, whole = (
        np.concatenate([getattr(part, name) for part in results])[order] for name in ("grids", "scores", "whole")
    )
    return CalibratedBank(held_out[order], grids, model.calibrate(scores, whole), bank)


def _copies(images: np.ndarray, rotations: int) -> np.ndarray:
    """Return the rows of all turned copies of `images`."""
    return (images[:, None] * rotations + np.arange(rotations)).ravel()
