"""From names to objects: everything that can be wrong with a config is found here, before anything is computed.

`resolve` is light (no torch) and writes every default out; the form of the app and the command line both call it.
`prepare` opens the data and loads the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panda_core.backbones import Backbone, find_backbone
from panda_core.config import Option, RunConfig
from panda_core.datasets import (
    DATASETS,
    Images,
    OneClassTask,
    absolute_key,
    find_class,
    find_dataset,
    one_class_task,
    outlier_images,
)
from panda_core.datasets.own.folder import PREFIX
from panda_core.datasets.sets.imagenet import missing_imagenet
from panda_core.errors import DataMissing, UsageError, unknown_name
from panda_core.few_shot.table import GENERALISERS, is_generalisation
from panda_core.methods.options import OWN
from panda_core.methods.table import RECIPES, Recipe, find_recipe
from panda_core.records import absolute
from panda_core.runs.calibration import FEWEST, count_held_out, with_reserved
from panda_core.runs.few_shot.settings import generalisation_options, resolve_generalisation
from panda_core.runs.segment.settings import (
    check_needs,
    check_neutral,
    check_options,
    check_segmentation,
    checkpoints_of,
    is_segmentation,
    levels_of,
    with_adapted_cut,
)
from panda_core.scoring.table import SCORERS, ScorerRow, find_scorer
from panda_core.segmentation.table import SEGMENTERS

if TYPE_CHECKING:
    import torch

    from panda_core.backbones.network import Network

GIVEN_IMAGES = "(images)"  # dataset of a run on images handed over in Python instead of a registered dataset
SEGMENT_SIZE = 224  # input side of a segmentation: where a defect is needs more pixels than what an image shows
BACKBONE, BATCH_SIZE = "efficientnet_lite0", 32  # of what is no recipe with its own


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that the loop needs. `config` has every default written out. scorer: None where the recipe scores itself."""

    config: RunConfig
    recipe: Recipe
    scorer: ScorerRow | None
    scorer_options: Mapping[str, Any]
    network: Network
    task: OneClassTask
    device: torch.device

    def option(self, key: str) -> Any:
        """Return the value of a `--set` option."""
        return self.config.set[key]

    def new_scorer(self) -> Any:
        """Return an unfitted scorer of features."""
        if self.scorer is None:
            raise ValueError("This recipe scores images itself.")
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
    config = with_absolute_paths(config)
    if is_generalisation(config):
        return resolve_generalisation(config)
    if is_segmentation(config):
        check_segmentation(config)
    elif config.recipe not in RECIPES:
        raise unknown_name("recipe", config.recipe, [*RECIPES, *SEGMENTERS, *GENERALISERS], "--recipe")
    config = with_defaults(config)
    backbone = find_backbone(str(config.backbone))
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

    check_network(config, backbone)
    resolved = config.replace(
        normal_class=normal_class,
        image_size=config.image_size or backbone.image_size or data_size,
        feature_norm=config.feature_norm or _own(config, "feature_norm") or backbone.feature_norm,
        set=_resolved_options(config.set, options_of(config)),
    )
    check_needs(resolved, options_of(resolved))
    if is_segmentation(config):
        check_options(resolved)
        return with_adapted_cut(resolved)
    recipe, steps, lr = find_recipe(config.recipe), config.steps, config.lr
    if steps is None:
        steps = recipe.paper_steps if backbone.follows_paper else recipe.steps
    if recipe.steps == 0 and steps:
        raise UsageError(f"`steps` of recipe `{config.recipe}` must be 0: it adapts nothing; got {steps}.")
    if recipe.steps == 0:
        check_neutral(config, {"lr": (None, backbone.lr), "eval_every": (None, 1), "batch_size": (recipe.batch_size,)})
    if lr is None:
        lr = (recipe.paper_lr if backbone.follows_paper else recipe.lr) or backbone.lr
        if backbone.pretrained and recipe.pretrained_lr is not None:
            lr = recipe.pretrained_lr
    resolved = resolved.replace(steps=steps, lr=lr, eval_every=config.eval_every or max(1, steps // recipe.evaluations))
    _check_auxiliary(resolved)
    return resolved


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return `config` with paths that mean the same from any folder: a run is read wherever it was started."""
    outliers = str(config.set.get("outliers", ""))
    is_folder = outliers not in ("", *DATASETS) and Path(absolute(outliers)).is_dir()
    return config.replace(
        dataset=absolute_key(config.dataset),
        data_root=absolute(config.data_root),
        runs_dir=absolute(config.runs_dir),
        set={**config.set, "outliers": absolute(outliers)} if is_folder else config.set,
    )


def with_defaults(config: RunConfig) -> RunConfig:
    """Return `config` with backbone, scorer and batch size written out, each known or allowed by the recipe."""
    if is_segmentation(config):
        return config.replace(
            backbone=config.backbone or BACKBONE, scorer=config.scorer or "knn", batch_size=config.batch_size or 32
        )
    recipe = find_recipe(config.recipe)
    backbone, scorer = config.backbone or recipe.backbone, config.scorer or recipe.scorer
    if recipe.only_backbones and backbone not in recipe.only_backbones:
        known = " or ".join(f"`{key}`" for key in recipe.only_backbones)
        raise UsageError(
            f"`backbone` of recipe `{config.recipe}` must be {known}, its own network; got `{backbone}`. "
            f"Leave `--backbone` out{_on_features(recipe)}."
        )
    if scorer == OWN and recipe.scorer != OWN:
        raise unknown_name("scorer", scorer, SCORERS, "--scorer")
    if scorer != OWN:
        find_scorer(scorer)
    return config.replace(backbone=backbone, scorer=scorer, batch_size=config.batch_size or recipe.batch_size)


def _on_features(recipe: Recipe) -> str:
    """Return, for a recipe that is but a scorer, how that scorer is used on the features of other networks."""
    return "" if recipe.steps or recipe.scorer == OWN else f", or use `--recipe frozen --scorer {recipe.scorer}`"


def check_network(config: RunConfig, backbone: Backbone) -> None:
    """Raise `UsageError` where a network does not go with the image size or the recipe of `config`."""
    if backbone.fixed_size and config.image_size not in (None, backbone.image_size):
        raise UsageError(
            f"`image_size` of backbone `{backbone.key}` must be {backbone.image_size}, the only one it takes; "
            f"got {config.image_size}. Leave `--image-size` out."
        )
    if is_segmentation(config) and not backbone.pretrained:
        raise UsageError(
            f"Recipe `{config.recipe}` compares maps of a pretrained network, and `{backbone.key}` is none. "
            f"Set `--backbone {BACKBONE}`."
        )
    cut = _own(config, "cut")
    if cut is not None and backbone.cuts and cut not in backbone.cuts:
        raise UsageError(
            f"Recipe `{config.recipe}` needs a network that can be cut at `{cut}`; `{backbone.key}` cannot. "
            f"Set `--backbone {find_recipe(config.recipe).backbone}`."
        )


def _own(config: RunConfig, field: str) -> Any:
    """Return the recipe's own default of a field, or None."""
    return None if is_segmentation(config) else getattr(find_recipe(config.recipe), field)


def _check_auxiliary(config: RunConfig) -> None:
    """Raise `DataMissing` or `UsageError` where the images that a recipe needs beside the normal ones are not there."""
    auxiliary, root = find_recipe(config.recipe).auxiliary, Path(config.data_root)
    if auxiliary == "source" and (missing := missing_imagenet(root)) is not None:
        raise DataMissing(missing)
    if auxiliary == "outliers":
        outliers_of(config)


def outliers_of(config: RunConfig) -> Images:
    """Return the outliers of a resolved config: the training images of another data set, or those of a folder."""
    spec, root = str(config.set["outliers"]), Path(config.data_root)
    if spec == config.dataset:
        raise UsageError(
            f"`outliers` must not be the data set itself, whose anomalies are to be found; got `{spec}`. "
            "Set `--set outliers=` to another data set or a folder."
        )
    if spec not in DATASETS:
        return outlier_images(spec, root)
    dataset = find_dataset(spec)
    missing = dataset.missing(root)
    if missing is not None:
        raise DataMissing(missing)
    return dataset.open(root, dataset.classes(root)[0], config.seed).train


def options_of(config: RunConfig) -> dict[str, Option]:
    """Return the `--set` options that the config's recipe, scorer and backbone understand, by key."""
    if is_generalisation(config):
        return generalisation_options(config)
    config = with_defaults(config)
    network = find_backbone(str(config.backbone))
    backbone = dict(network.options)
    cut = _own(config, "cut")
    if cut is not None:
        backbone["cut"] = dataclasses.replace(backbone["cut"], default=cut, choices=(cut,))
    if is_segmentation(config):
        return {**SEGMENTERS[config.recipe].options, **backbone}
    scorer = {} if config.scorer == OWN else find_scorer(str(config.scorer)).options
    recipe = find_recipe(config.recipe)
    own = dict(recipe.options)
    for key, default in recipe.tuned.items() if not network.follows_paper else ():
        own[key] = dataclasses.replace(own[key], default=default)
    return {**own, **scorer, **backbone}


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
    network = find_backbone(str(config.backbone)).load(str(config.set["cut"])).to(device)
    # A timm network names its own cut when it is loaded.
    return config.replace(set={**config.set, "cut": network.cut}), device, task, network


def open_task(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config."""
    splits = find_dataset(config.dataset).open(Path(config.data_root), str(config.normal_class), config.seed)
    task = one_class_task(splits, train_limit=config.train_limit, test_limit=config.test_limit, seed=config.seed)
    if config.dataset.startswith(PREFIX) and not is_generalisation(config):
        return with_reserved(task, config.seed)
    return task


def prepare_segmentation(config: RunConfig, task: OneClassTask | None = None) -> SegmentPlan:
    """Return the plan of a segmentation run, as `prepare` does of an adaptation."""
    config, device, task, network = _loaded(config, task)
    levels = levels_of(config, network.stages, network.levels, network.cut)
    return SegmentPlan(config, network, task, device, levels, tuple(checkpoints_of(config)))


def prepare(config: RunConfig, task: OneClassTask | None = None) -> Plan:
    """Return the plan of `config`: data opened, network loaded, device chosen. `task` replaces the dataset."""
    import torch

    config, device, task, network = _loaded(config, task)
    scorer = None if config.scorer == OWN else find_scorer(str(config.scorer))
    options = {key: config.set[key] for key in (scorer.options if scorer else ())}
    own = len(task.train) - len(task.reserved)
    fitted = own - count_held_out(own)
    for key in ("k", "means"):
        if key in options and int(options[key]) > fitted:
            allowed = "1" if fitted == 1 else f"in [1, {fitted}]"
            raise UsageError(
                f"`{key}` of scorer `{config.scorer}` must be {allowed}, since test images are compared with "
                f"{fitted} normal one{'s' * (fitted > 1)}; got {options[key]}. Set `--set {key}={min(2, fitted)}`."
            )
    recipe = find_recipe(config.recipe)
    if recipe.stop == "ses" and len(task.train) < FEWEST:
        raise UsageError(
            f"Recipe `{config.recipe}` needs at least {FEWEST} normal images, to hold some out; "
            f"got {len(task.train)}. Add images or use `--recipe panda-early`."
        )
    if (recipe.penalty == "ewc" or recipe.auxiliary == "source") and network.classifier is None:
        raise UsageError(
            f"Recipe `{config.recipe}` needs a backbone with a classifier; `{config.backbone}` has none. "
            "Use `--recipe panda-l2`."
        )
    if recipe.steps and not any(True for _ in network.tail.parameters()):
        raise UsageError(
            f"Recipe `{config.recipe}` needs a network with weights to adapt; `{config.backbone}` has none. "
            "Use `--recipe frozen`."
        )
    torch.manual_seed(config.seed)  # nothing draws from it today; a backbone that did would still be reproducible
    return Plan(config, recipe, scorer, options, network, task, device)


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first of cuda, mps and cpu that is there."""
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    if not present[name]:
        raise UsageError(f"Device `{name}` is not on this machine. Set `--device auto`.")
    return torch.device(name)
