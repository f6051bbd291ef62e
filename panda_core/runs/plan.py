"""From names to objects: everything that can be wrong with a config is found here, before anything is computed.

`resolve` is light (no torch) and writes every default out; the form of the app and the command line both call it.
`prepare` opens the data and loads the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from panda_core.backbones import find_backbone
from panda_core.config import Option, RunConfig
from panda_core.datasets import OneClassTask, find_class, find_dataset, one_class_task
from panda_core.errors import DataMissing, UsageError, unknown_name
from panda_core.methods import RECIPES, Recipe, find_recipe
from panda_core.runs.segment_settings import (
    check_options,
    check_segmentation,
    checkpoints_of,
    is_segmentation,
    levels_of,
    with_adapted_cut,
)
from panda_core.scoring import ScorerRow, find_scorer
from panda_core.segmentation import SEGMENTERS

if TYPE_CHECKING:
    import torch

    from panda_core.backbones.network import Network

GIVEN_IMAGES = "(images)"  # dataset of a run on images handed over in Python instead of a registered dataset
FEWEST_FOR_HELD_OUT = 4
SEGMENT_SIZE = 224  # input side of a segmentation: where a defect is needs more pixels than what an image shows
HELD_OUT_SHARE = 0.1  # PANDA, App. D splits the training features 90 / 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the loop needs. `config` has every default written out."""

    config: RunConfig
    recipe: Recipe
    scorer: ScorerRow
    scorer_options: Mapping[str, Any]
    network: Network
    task: OneClassTask
    device: torch.device

    def option(self, key: str) -> Any:
        """Return the value of a `--set` option."""
        return self.config.set[key]

    def new_scorer(self) -> Any:
        """Return an unfitted scorer."""
        return self.scorer.build(seed=self.config.seed, **self.scorer_options)


@dataclasses.dataclass(frozen=True)
class SegmentPlan:
    """All that a segmentation needs. levels: stages that are compared. steps: checkpoints whose network is used."""

    config: RunConfig
    network: Network
    task: OneClassTask
    device: torch.device
    levels: tuple[str, ...]
    steps: tuple[int, ...]


def resolve(config: RunConfig) -> RunConfig:
    """Return `config` with every None and every option of its recipe, scorer and backbone written out.

    Raises `UsageError` for an unknown name or a value out of range, `DataMissing` where data or weights are absent.
    """
    backbone = find_backbone(config.backbone)
    if is_segmentation(config):
        check_segmentation(config)
    elif config.recipe not in RECIPES:
        raise unknown_name("recipe", config.recipe, [*RECIPES, *SEGMENTERS], "--recipe")
    find_scorer(config.scorer)
    normal_class, data_size = "normal", 128
    if config.dataset != GIVEN_IMAGES:
        dataset, root = find_dataset(config.dataset), Path(config.data_root)
        missing = dataset.missing(root)
        if missing is not None:
            raise DataMissing(missing)
        normal_class, data_size = find_class(dataset, root, config.normal_class), dataset.image_size
    if is_segmentation(config):
        data_size = SEGMENT_SIZE
    missing = backbone.missing()
    if missing is not None:
        raise DataMissing(missing)

    resolved = config.replace(
        normal_class=normal_class,
        image_size=config.image_size or backbone.image_size or data_size,
        feature_norm=config.feature_norm or backbone.feature_norm,
        set=_resolved_options(config.set, options_of(config)),
    )
    if is_segmentation(config):
        check_options(resolved)
        return with_adapted_cut(resolved)
    recipe, steps = find_recipe(config.recipe), config.steps
    if steps is None:
        steps = recipe.paper_steps if backbone.follows_paper else recipe.steps
    if recipe.steps == 0 and steps:
        raise UsageError(f"`steps` of recipe `{config.recipe}` must be 0: it adapts nothing; got {steps}.")
    return resolved.replace(
        steps=steps,
        lr=config.lr if config.lr is not None else backbone.lr,
        eval_every=config.eval_every or max(1, steps // recipe.evaluations),
    )


def options_of(config: RunConfig) -> dict[str, Option]:
    """Return the `--set` options that the config's recipe, scorer and backbone understand, by key."""
    if is_segmentation(config):
        return {**SEGMENTERS[config.recipe].options, **find_backbone(config.backbone).options}
    recipe, scorer, backbone = (
        find_recipe(config.recipe),
        find_scorer(config.scorer),
        find_backbone(config.backbone),
    )
    return {**recipe.options, **scorer.options, **backbone.options}


def _resolved_options(given: Mapping[str, object], options: Mapping[str, Option]) -> dict[str, Any]:
    for key in given:
        if key not in options:
            raise unknown_name("option", key, sorted(options), "--set")
    return {key: option.parse(key, given.get(key, option.default)) for key, option in options.items()}


def _loaded(config: RunConfig, task: OneClassTask | None) -> tuple[RunConfig, torch.device, OneClassTask, Network]:
    config = resolve(config)
    device = choose_device(config.device)
    if task is None:
        task = open_task(config)
    elif len(task.train) < 2:
        raise UsageError(f"At least 2 normal images are needed; got {len(task.train)}. Add images.")
    network = find_backbone(config.backbone).load(str(config.set["cut"])).to(device)
    # A timm network names its own cut when it is loaded.
    return config.replace(set={**config.set, "cut": network.cut}), device, task, network


def open_task(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config."""
    splits = find_dataset(config.dataset).open(Path(config.data_root), str(config.normal_class), config.seed)
    return one_class_task(splits, train_limit=config.train_limit, test_limit=config.test_limit, seed=config.seed)


def prepare_segmentation(config: RunConfig, task: OneClassTask | None = None) -> SegmentPlan:
    """Return the plan of a segmentation run, as `prepare` does of an adaptation."""
    config, device, task, network = _loaded(config, task)
    levels = levels_of(config, network.stages, network.levels, network.cut)
    return SegmentPlan(config, network, task, device, levels, tuple(checkpoints_of(config)))


def prepare(config: RunConfig, task: OneClassTask | None = None) -> Plan:
    """Return the plan of `config`: data opened, network loaded, device chosen. `task` replaces the dataset."""
    import torch

    config, device, task, network = _loaded(config, task)
    scorer = find_scorer(config.scorer)
    options = {key: config.set[key] for key in scorer.options}
    fitted = len(task.train) - count_held_out(len(task.train))
    for key in ("k", "means"):
        if key in options and int(options[key]) > fitted:
            raise UsageError(
                f"`{key}` of scorer `{config.scorer}` must be in [1, {fitted}], the number of normal images that are "
                f"compared with; got {options[key]}. Set `--set {key}={min(2, fitted)}`."
            )
    recipe = find_recipe(config.recipe)
    if recipe.stop == "ses" and len(task.train) < FEWEST_FOR_HELD_OUT:
        raise UsageError(
            f"Recipe `{config.recipe}` needs at least {FEWEST_FOR_HELD_OUT} normal images, to hold some out; "
            f"got {len(task.train)}. Add images or use `--recipe panda-early`."
        )
    if recipe.penalty == "ewc" and network.classifier is None:
        raise UsageError(
            f"Recipe `{config.recipe}` needs a backbone with a classifier; `{config.backbone}` has none. "
            "Use `--recipe panda-l2`."
        )
    torch.manual_seed(config.seed)  # nothing draws from it today; a backbone that did would still be reproducible
    return Plan(config, recipe, scorer, options, network, task, device)


def count_held_out(normals: int) -> int:
    """Return how many of the normal training images are held out: a tenth, at least one, none of fewer than 4."""
    return max(1, round(HELD_OUT_SHARE * normals)) if normals >= FEWEST_FOR_HELD_OUT else 0


def held_out_rows(normals: int, seed: int) -> np.ndarray:
    """Return the held-out rows among `normals` training images: ascending, the same for the whole run."""
    chosen = np.random.default_rng([seed, 1]).permutation(normals)[: count_held_out(normals)]
    return np.sort(chosen)


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first of cuda, mps and cpu that is there."""
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    if not present[name]:
        raise UsageError(f"Device `{name}` is not on this machine. Set `--device auto`.")
    return torch.device(name)
