"""What comes before the first step: activations of both splits, who is held out, and the penalty."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from panda_core.config import default_cache_dir
from panda_core.datasets import Images, imagenet_images, split_digest
from panda_core.datasets.io.smaller import SmallerImages, typical_side
from panda_core.errors import PandaError
from panda_core.events import CacheProgress, ImagesSkipped
from panda_core.features.cache import TrunkActivations, cache_key, trunk_activations
from panda_core.methods.elastic import ElasticPenalty, fisher_diagonal
from panda_core.methods.learner import Beside
from panda_core.records import write_atomically
from panda_core.runs.calibration import calibration_rows
from panda_core.runs.plan import Plan, outliers_of

FISHER_MARKS = 20  # progress lines while the Fisher diagonal is computed


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Activations and rows of a run, unreadable images left out.

    fitted: training rows that are adapted on and that test images are compared with. held_out: rows that calibrate the
    threshold; gallery: all others, with which these are compared. is_anomaly: (M,) of the test rows. fisher_source:
    where the Fisher diagonal comes from, in words, or None. beside: other images of a recipe that needs some.
    """

    train: TrunkActivations
    test: TrunkActivations
    is_anomaly: np.ndarray
    fitted: np.ndarray
    gallery: np.ndarray
    held_out: np.ndarray
    penalty: ElasticPenalty | None
    fisher_source: str | None
    beside: Beside | None


def set_up(plan: Plan, should_stop: Callable[[], bool]) -> Iterator[CacheProgress | ImagesSkipped | Inputs]:
    """Yield progress, then the `Inputs`; no inputs if stopped on the way."""
    splits: dict[str, TrunkActivations] = {}
    for split, images in (("train", plan.task.train), ("test", plan.task.test)):
        for item in _activations(plan, images, split, should_stop):
            if isinstance(item, TrunkActivations):
                splits[split] = item
            else:
                yield item
        if split not in splits:
            return
    train, test = splits["train"], splits["test"]
    reserved = np.isin(train.kept, plan.task.reserved)
    held_out = calibration_rows(reserved, plan.config.seed)
    gallery = np.setdiff1d(np.arange(len(train.values)), held_out)
    if len(gallery) < 2:
        raise PandaError(f"Only {len(gallery)} normal image could be decoded; at least 2 are needed. Add images.")
    fitted = gallery if plan.option("calibrate_on") == "held-out" else np.nonzero(~reserved)[0]

    plan.network.tail.requires_grad_(plan.recipe.steps > 0)
    penalty, source = None, None
    initial = {name: value for name, value in plan.network.tail.named_parameters() if value.requires_grad}
    if plan.recipe.penalty == "l2":
        penalty = ElasticPenalty(initial, None, strength=float(plan.option("l2_strength")))
    elif plan.recipe.penalty == "ewc":
        for found in _fisher(plan, train, should_stop):
            if isinstance(found, CacheProgress):
                yield found
                continue
            importance, source = found
            penalty = ElasticPenalty(initial, importance, strength=float(plan.option("ewc_strength")))
        if penalty is None:
            return
    beside: Beside | None = None
    if plan.recipe.beside is not None:
        for read in _beside(plan, should_stop):
            if isinstance(read, Beside):
                beside = read
            else:
                yield read
        if beside is None:
            return
    yield Inputs(train, test, plan.task.is_anomaly[test.kept], fitted, gallery, held_out, penalty, source, beside)


def _beside(plan: Plan, should_stop: Callable[[], bool]) -> Iterator[CacheProgress | ImagesSkipped | Beside]:
    """Yield progress, then the activations of the images that the recipe needs besides the normal ones."""
    images: Images
    labels: np.ndarray | None = None
    if plan.recipe.beside == "source":
        labelled = imagenet_images(Path(plan.config.data_root))
        if labelled is None:
            raise PandaError(f"`{plan.config.data_root}` holds no labelled ImageNet image. Check its folders.")
        images, labels = labelled.images, labelled.labels
    else:
        images = outliers_of(plan.config)
        side = typical_side(plan.task.train)
        if plan.option("outlier_detail") == "match" and side < int(plan.config.image_size or 0):
            images = SmallerImages(images, side)
    for item in _activations(plan, images, str(plan.recipe.beside), should_stop):
        if isinstance(item, TrunkActivations):
            yield Beside(item.values, None if labels is None else labels[item.kept])
        else:
            yield item


def _activations(
    plan: Plan, images: Images, split: str, should_stop: Callable[[], bool]
) -> Iterator[CacheProgress | ImagesSkipped | TrunkActivations]:
    return trunk_activations(
        images,
        plan.network,
        split=split,
        image_size=int(plan.config.image_size or 0),
        dtype=str(plan.option("cache_dtype")),
        device=plan.device,
        cache_dir=default_cache_dir(),
        should_stop=should_stop,
    )


def _fisher(
    plan: Plan, train: TrunkActivations, should_stop: Callable[[], bool]
) -> Iterator[CacheProgress | tuple[dict[str, Tensor], str]]:
    """Yield progress, then (Fisher diagonal by parameter name, its source in words), from the cache if it is there."""
    limit = int(plan.option("fisher_images"))
    rng = np.random.default_rng([plan.config.seed, 4])
    labelled = imagenet_images(Path(plan.config.data_root))
    values, labels = train.values, None
    images, kept = plan.task.train, train.kept
    if labelled is not None:
        chosen = np.sort(rng.permutation(len(labelled.images))[:limit])
        images, labels = labelled.images.subset(chosen), labelled.labels[chosen]
        found = None
        for item in _activations(plan, images, "fisher", should_stop):
            if isinstance(item, TrunkActivations):
                found = item
        if found is None:
            return
        values, labels, kept = found.values, labels[found.kept], found.kept
        source = f"empirical Fisher of {len(values)} labelled ImageNet images ({labelled.where})"
    else:
        chosen = np.sort(rng.permutation(len(values))[:limit])
        values, kept = values[chosen], kept[chosen]
        source = (
            f"true Fisher of {len(values)} normal training images, labels drawn from the network's own predictions "
            "(the paper uses labelled ImageNet images, which are not in the data root)"
        )
    drawn = f"drawn with seed {plan.config.seed}"
    key = cache_key(
        images_sha256=split_digest(images.subset(kept)) + (drawn if labels is None else labels.tobytes().hex()),
        network=plan.network,
        image_size=int(plan.config.image_size or 0),
        dtype=str(plan.option("cache_dtype")),
    )
    file = default_cache_dir() / "fisher" / f"{key[:40]}.safetensors"
    total = len(values)
    every = max(1, total // FISHER_MARKS)
    cached = _read_fisher(file, plan)
    if cached is not None:
        for done in [*range(every, total, every), total]:
            yield CacheProgress(split="fisher", done=done, total=total)
        yield cached, source
        return
    computing = fisher_diagonal(
        plan.network, values, labels, rng=torch.Generator().manual_seed(plan.config.seed), device=plan.device
    )
    while True:
        try:
            done = next(computing)
        except StopIteration as end:
            diagonal: dict[str, Tensor] = end.value
            break
        if should_stop():
            return
        if (done % every == 0 and done < total) or done == total:
            yield CacheProgress(split="fisher", done=done, total=total)
    content = save({name: value.cpu().contiguous() for name, value in diagonal.items()})
    write_atomically(file, lambda handle: handle.write(content))
    yield diagonal, source


def _read_fisher(file: Path, plan: Plan) -> dict[str, Tensor] | None:
    shapes = {name: value.shape for name, value in plan.network.tail.named_parameters() if value.requires_grad}
    try:
        cached: dict[str, Any] = load_file(file, device=str(plan.device))
    except Exception:  # absent or damaged: it is computed again
        return None
    return cached if {name: value.shape for name, value in cached.items()} == shapes else None
