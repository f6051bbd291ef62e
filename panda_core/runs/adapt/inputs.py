"""What comes before the first step: activations of both splits, who is held out, and the penalty."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from panda_core.backbones import find_backbone
from panda_core.config import default_cache_dir
from panda_core.datasets import Images, imagenet_images, split_digest
from panda_core.datasets.copies import shared_images
from panda_core.datasets.io.smaller import SmallerImages, typical_side
from panda_core.errors import PandaError
from panda_core.events import Computing, DataNoted, progress_at
from panda_core.features.background import KEPT
from panda_core.features.cache import TrunkActivations, cache_key, form_that_fits, trunk_activations
from panda_core.methods.elastic import ElasticPenalty, fisher_diagonal
from panda_core.methods.learner import AuxiliaryImages
from panda_core.records import write_atomically
from panda_core.runs.adapt.background import FEWEST, BackgroundImages, BundledImages, few_told
from panda_core.runs.adapt.settings import BACKGROUND, AdaptPlan, needs_background, other_images, turns
from panda_core.runs.calibration import calibration_rows
from panda_core.runs.data import check_enough, original_rows
from panda_core.runs.owner import cache_of
from panda_core.scoring.relative_mahalanobis import BUNDLED


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Activations and rows of a run, unreadable images left out.

    is_anomaly: (M,) of the test rows.
    train_rows: rows of `train` that are adapted on and that test images are compared with.
    reference_rows: rows that the calibrating images are compared with.
    calibration_rows: rows that calibrate the threshold.
    turns: groups of calibrating rows that are compared with all other rows that are learned from, each group in a space
        of these; empty where the calibrating images are held out from all that is learned.
    fisher_source: where the Fisher diagonal comes from, in words, or None.
    auxiliary: other images of a recipe that needs some.
    background: what a scorer that needs one compares with besides.
    """

    train: TrunkActivations
    test: TrunkActivations
    is_anomaly: np.ndarray
    train_rows: np.ndarray
    reference_rows: np.ndarray
    calibration_rows: np.ndarray
    turns: list[np.ndarray]
    penalty: ElasticPenalty | None
    fisher_source: str | None
    auxiliary: AuxiliaryImages | None
    background: BackgroundImages | BundledImages | None


def set_up(plan: AdaptPlan) -> Computing[Inputs]:
    """Yield progress; return the inputs of a run."""
    train_rows, test_rows = yield from original_rows(plan.config.dataset, plan.task)
    form, told = _form(plan, len(train_rows) + len(test_rows))
    if told is not None:
        yield DataNoted(told=told)
    train = yield from _activations(plan, plan.task.train.subset(train_rows), "train", form)
    train = dataclasses.replace(train, image_rows=train_rows[train.image_rows])
    test = yield from _activations(plan, plan.task.test.subset(test_rows), "test", form)
    test = dataclasses.replace(test, image_rows=test_rows[test.image_rows])
    reserved = np.isin(train.image_rows, plan.task.reserved)
    (own,) = np.nonzero(~reserved)
    groups = turns(plan.config, own)
    calibrating = np.arange(len(reserved)) if groups else calibration_rows(reserved, plan.config.seed)
    references = own if groups else np.setdiff1d(own, calibrating)
    check_enough(len(references))
    plan.network.tail.requires_grad_(plan.recipe.steps > 0)
    penalty, source = yield from _penalty(plan, train, form)
    return Inputs(
        train=train,
        test=test,
        is_anomaly=plan.task.is_anomaly[test.image_rows],
        train_rows=references if plan.option("calibrate_on") == "held-out" else own,
        reference_rows=references,
        calibration_rows=calibrating,
        turns=groups,
        penalty=penalty,
        fisher_source=source,
        auxiliary=None if plan.recipe.auxiliary is None else (yield from _auxiliary(plan, form)),
        background=(yield from _background(plan, form)) if needs_background(plan.config) else None,
    )


def _penalty(
    plan: AdaptPlan, train: TrunkActivations, form: str
) -> Computing[tuple[ElasticPenalty | None, str | None]]:
    """Return what holds the weights, and where their importance comes from, in words; None, None without a penalty."""
    initial = {name: value for name, value in plan.network.tail.named_parameters() if value.requires_grad}
    implicit = not find_backbone(str(plan.config.backbone)).follows_paper
    if plan.recipe.penalty == "l2":
        return ElasticPenalty(initial, None, strength=float(plan.option("l2_strength")), implicit=implicit), None
    if plan.recipe.penalty == "ewc":
        importance, source = yield from _fisher(plan, train, form)
        strength = float(plan.option("ewc_strength"))
        return ElasticPenalty(initial, importance, strength=strength, implicit=implicit), source
    return None, None


def _auxiliary(plan: AdaptPlan, form: str) -> Computing[AuxiliaryImages]:
    """Return the activations of the auxiliary images that the recipe needs."""
    images: Images
    labels: np.ndarray | None = None
    if plan.recipe.auxiliary == "source":
        labelled = imagenet_images(Path(plan.config.data_root))
        if labelled is None:
            raise PandaError(f"`{plan.config.data_root}` holds no labelled ImageNet image. Check its folders.")
        images, labels = labelled.images, labelled.labels
    else:
        images = _others(plan, "outliers")
        if plan.option("outlier_detail") == "match":
            images = _as_small(plan, images)
    activations = yield from _activations(plan, images, str(plan.recipe.auxiliary), form)
    return AuxiliaryImages(activations.values, None if labels is None else labels[activations.image_rows])


def _others(plan: AdaptPlan, option: str) -> Images:
    """Return the images that `option` names; `PandaError` where one of them shows what an image of the run shows."""
    images = other_images(plan.config, option)
    shared = shared_images(images, (plan.task.train, plan.task.test))
    if shared:
        row, own = shared[0]
        raise PandaError(
            f"`{option}` must name images that are none of this run's; {len(shared)} of {len(images)} are, "
            f"`{images.names[row]}` for instance, which is `{own}`, or that picture saved anew. Set "
            f"`--set {option}=` to another folder."
        )
    return images


def _as_small(plan: AdaptPlan, images: Images) -> Images:
    """Return images that are no larger than normal ones that are smaller than the network's input."""
    side = typical_side(plan.task.train)
    return SmallerImages(images, side) if side < int(plan.config.image_size or 0) else images


def _background(plan: AdaptPlan, form: str) -> Computing[BackgroundImages | BundledImages]:
    """Return the background of a scorer that needs one, as small as the normal images."""
    size = int(plan.config.image_size or 0)
    if plan.option(BACKGROUND) == BUNDLED:
        bundled = BundledImages(str(plan.config.backbone), min(size, typical_side(plan.task.train)))
        told = bundled.told(size)
        if told is not None:
            yield DataNoted(told=told)
        return bundled
    images = _as_small(plan, _others(plan, BACKGROUND))
    activations = yield from _activations(plan, images, BACKGROUND, form)
    if len(activations.values) < FEWEST:
        raise PandaError(
            f"`{BACKGROUND}` must name at least {FEWEST} images that can be decoded, better hundreds; got "
            f"{len(activations.values)}. Set `--set {BACKGROUND}=` to another folder."
        )
    if len(activations.values) <= KEPT:
        yield DataNoted(told=few_told(len(activations.values)))
    return BackgroundImages(activations.values)


def _form(plan: AdaptPlan, count: int) -> tuple[str, str | None]:
    """Return what is kept of the `count` images of a run and of those that its penalty needs: see `form_that_fits`."""
    return form_that_fits(
        plan.network,
        count + int(plan.config.set.get("fisher_images", 0)),
        image_size=int(plan.config.image_size or 0),
        dtype=str(plan.option("cache_dtype")),
        device=plan.device,
    )


def _activations(plan: AdaptPlan, images: Images, split: str, form: str) -> Computing[TrunkActivations]:
    return trunk_activations(
        images,
        plan.network,
        split=split,
        image_size=int(plan.config.image_size or 0),
        dtype=str(plan.option("cache_dtype")),
        device=plan.device,
        cache_dir=cache_of(plan.config) if split in ("train", "test") else default_cache_dir(),
        form=form,
    )


def _fisher(plan: AdaptPlan, train: TrunkActivations, form: str) -> Computing[tuple[dict[str, Tensor], str]]:
    """Return (Fisher diagonal by parameter name, its source in words), from the cache if it is there."""
    limit = int(plan.option("fisher_images"))
    rng = np.random.default_rng([plan.config.seed, 4])
    labelled = imagenet_images(Path(plan.config.data_root))
    values, labels = train.values, None
    images, image_rows = plan.task.train, train.image_rows
    if labelled is not None:
        chosen = np.sort(rng.permutation(len(labelled.images))[:limit])
        images, labels = labelled.images.subset(chosen), labelled.labels[chosen]
        activations = yield from _activations(plan, images, "fisher", form)
        values, image_rows = activations.values, activations.image_rows
        labels = labels[image_rows]
        source = f"empirical Fisher of {len(values)} labelled ImageNet images ({labelled.where})"
    else:
        chosen = np.sort(rng.permutation(len(values))[:limit])
        values, image_rows = values[chosen], image_rows[chosen]
        source = (
            f"true Fisher of {len(values)} normal training images, labels drawn from the network's own predictions "
            "(the paper uses labelled ImageNet images, which are not in the data root)"
        )
    drawn = f"drawn with seed {plan.config.seed}"
    key = cache_key(
        images_sha256=split_digest(images.subset(image_rows)) + (drawn if labels is None else labels.tobytes().hex()),
        network=plan.network,
        image_size=int(plan.config.image_size or 0),
        dtype=str(plan.option("cache_dtype")),
    )
    file = default_cache_dir() / "fisher" / f"{key[:40]}.safetensors"
    cached = _read_fisher(file, plan)
    if cached is not None:
        for done in range(1, len(values) + 1):  # the same lines as when it was computed
            yield progress_at("fisher", done, len(values))
        return cached, source
    rng_of_labels = torch.Generator().manual_seed(plan.config.seed)
    diagonal = yield from fisher_diagonal(plan.network, values, labels, rng=rng_of_labels, device=plan.device)
    content = save({name: value.cpu().contiguous() for name, value in diagonal.items()})
    write_atomically(file, lambda handle: handle.write(content))
    return diagonal, source


def _read_fisher(file: Path, plan: AdaptPlan) -> dict[str, Tensor] | None:
    shapes = {name: value.shape for name, value in plan.network.tail.named_parameters() if value.requires_grad}
    try:
        cached: dict[str, Any] = load_file(file, device=str(plan.device))
    except Exception:  # absent or damaged: it is computed again
        return None
    return cached if {name: value.shape for name, value in cached.items()} == shapes else None
