"""The settings of an adaptation: checked and written out, then made into the objects of its plan.

`resolve` is light (no torch); the form of the app and the command line both call it. `prepare` opens data and network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from panda_core.backbones import Backbone, find_backbone
from panda_core.config import TILES_OFF, Option, RunConfig
from panda_core.datasets import DATASETS, Images, OneClassTask, find_dataset, outlier_images, split_digest
from panda_core.datasets.io.smaller import typical_side
from panda_core.datasets.own.outliers import IMAGENET_SAMPLE
from panda_core.datasets.own.size import learning_side
from panda_core.datasets.sets.imagenet import missing_imagenet
from panda_core.errors import DataMissing, UsageError, unknown_name
from panda_core.features.background_file import NETWORKS
from panda_core.methods.options import OWN
from panda_core.methods.table import Recipe, find_recipe
from panda_core.runs.calibration import FEWEST, count_held_out, in_turn
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.settings import (
    WEIGHTS,
    Plan,
    check_data,
    check_given,
    check_here,
    check_needs,
    check_neutral,
    check_size,
    choose_device,
    data_options,
    load_network,
    open_calibrating,
    resolved_options,
    with_known_range,
    within_region,
)
from panda_core.scoring.joined import JoinedScorer
from panda_core.scoring.relative_mahalanobis import BUNDLED, MeasuredFrom
from panda_core.scoring.table import SCORERS, ScorerRow, find_scorer

BACKGROUND = "background"  # the option of the scorers that need one


@dataclasses.dataclass(frozen=True)
class AdaptPlan(Plan):
    """All that an adaptation needs. scorer: None where the recipe scores images itself."""

    recipe: Recipe
    scorer: ScorerRow | None

    def others_sha256(self) -> dict[str, str]:
        """Return the digests of outliers and of a background; none of labelled ImageNet, which is too large."""
        return {key: split_digest(other_images(self.config, key)) for key in _named_images(self.config)}

    def new_scorer(self, widths: Sequence[int], backgrounds: Sequence[MeasuredFrom] = ()) -> Any:
        """Return an unfitted scorer of features. As the function `new_scorer`."""
        if self.scorer is None:
            raise ValueError("This recipe scores images itself.")
        return new_scorer(self.scorer, self.config, widths, backgrounds)


def new_scorer(
    row: ScorerRow, config: RunConfig, widths: Sequence[int], backgrounds: Sequence[MeasuredFrom] = ()
) -> Any:
    """Return the unfitted scorer of a resolved config; of several networks one that takes the mean of their scores.

    widths: of the features of each network, side by side. backgrounds: of each network, where the scorer needs one.
    """
    options: dict[str, Any] = {key: config.set[key] for key in row.options}
    given = [{"background": one} for one in backgrounds] if row.needs_background else [{}] * len(widths)
    scorers = [row.build(seed=config.seed, **{**options, **own}) for own in given]
    return scorers[0] if len(scorers) == 1 else JoinedScorer(scorers, widths, positive=row.positive)


def resolve(config: RunConfig) -> RunConfig:
    """Return `config` with every None and every option of its recipe, scorer and backbone written out.

    Raises `UsageError` for an unknown name or a value out of range, `DataMissing` where data or weights are absent.
    """
    config = with_defaults(config)
    recipe, backbone = find_recipe(config.recipe), find_backbone(str(config.backbone))
    normal_class, data_size = check_data(config)
    check_here(backbone.missing())
    check_network(config, recipe, backbone)
    check_neutral(config, {"tiles": (TILES_OFF,)}, why=", which looks at whole images")
    resolved = config.replace(
        normal_class=normal_class,
        image_size=config.image_size or backbone.image_size or data_size,
        feature_norm=config.feature_norm or recipe.feature_norm or backbone.feature_norm,
        set=resolved_options(config.set, options_of(config)),
    )
    check_needs(resolved, options_of(resolved))
    resolved = _with_lengths(resolved, recipe, backbone)
    _check_auxiliary(resolved)
    return resolved


def with_defaults(config: RunConfig) -> RunConfig:
    """Return `config` with backbone, scorer and batch size written out, each known or allowed by the recipe."""
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


def check_network(config: RunConfig, recipe: Recipe, backbone: Backbone) -> None:
    """Raise `UsageError` where a network does not go with the image size or the recipe of `config`."""
    check_size(config, backbone)
    if recipe.cut is not None and backbone.cuts and recipe.cut not in backbone.cuts:
        raise UsageError(
            f"Recipe `{config.recipe}` needs a network that can be cut at `{recipe.cut}`; `{backbone.key}` cannot. "
            f"Set `--backbone {recipe.backbone}`."
        )


def _with_lengths(config: RunConfig, recipe: Recipe, backbone: Backbone) -> RunConfig:
    """Return `config` with steps, learning rate and interval written out, each for its network."""
    steps, lr = config.steps, config.lr
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
    return config.replace(steps=steps, lr=lr, eval_every=config.eval_every or max(1, steps // recipe.evaluations))


def _check_auxiliary(config: RunConfig) -> None:
    """Raise `DataMissing` or `UsageError` where the other images that a recipe or a scorer needs are not there."""
    if find_recipe(config.recipe).auxiliary == "source":
        check_here(missing_imagenet(Path(config.data_root)))
    if needs_background(config):
        _check_background(config)
    for key in _named_images(config):
        try:
            other_images(config, key)
        except DataMissing as error:
            check_here(str(error))


def _named_images(config: RunConfig) -> list[str]:
    """Return the options of a resolved config that name images which take part."""
    named = ["outliers"] if find_recipe(config.recipe).auxiliary == "outliers" else []
    return [*named, BACKGROUND] if needs_background(config) and config.set[BACKGROUND] != BUNDLED else named


def needs_background(config: RunConfig) -> bool:
    """Return whether the scorer of a resolved config compares with other images as well."""
    return config.scorer != OWN and find_scorer(str(config.scorer)).needs_background


def _has_background(config: RunConfig) -> bool:
    """Return whether the background of a config's network comes with the program: as it is, with its own weights.

    It saw all of each photograph; where a part of the normal images counts, the same part of others does.
    """
    unadapted = find_recipe(config.recipe).steps == 0
    return unadapted and config.backbone in NETWORKS and not config.set.get(WEIGHTS) and not config.roi


def _check_background(config: RunConfig) -> None:
    """Raise `UsageError` for `background=bundled` where none comes with the program."""
    if config.set[BACKGROUND] != BUNDLED or _has_background(config):
        return
    why = f"`{config.backbone}` with {'a region of interest' if config.roi else 'these weights'}"
    why = "an adapted network" if find_recipe(config.recipe).steps else why
    raise UsageError(
        f"No background of {why} comes with the program, only of {', '.join(NETWORKS)} as they are; got "
        f"`background={BUNDLED}`. Set `--set background={IMAGENET_SAMPLE}` or to a folder of images of anything."
    )


def other_images(config: RunConfig, key: str) -> Images:
    """Return the images that option `key` of a resolved config names: of another data set, or of a folder."""
    spec, root = str(config.set[key]), Path(config.data_root)
    if spec == config.dataset:
        raise UsageError(
            f"`{key}` must not be the data set itself, whose anomalies are to be found; got `{spec}`. "
            f"Set `--set {key}=` to another data set or a folder."
        )
    if spec not in DATASETS:
        return outlier_images(spec, root, key)
    dataset = find_dataset(spec)
    check_here(dataset.missing(root))
    return dataset.open(root, dataset.classes(root)[0], config.seed).train


def options_of(config: RunConfig) -> dict[str, Option]:
    """Return the `--set` options that the config's recipe, scorer and backbone understand, by key."""
    config = with_defaults(config)
    recipe, network = find_recipe(config.recipe), find_backbone(str(config.backbone))
    backbone = dict(network.options)
    if recipe.cut is not None:
        backbone["cut"] = dataclasses.replace(backbone["cut"], default=recipe.cut, choices=(recipe.cut,))
    scorer = {} if config.scorer == OWN else dict(find_scorer(str(config.scorer)).options)
    if BACKGROUND in scorer and not _has_background(config):
        scorer[BACKGROUND] = dataclasses.replace(scorer[BACKGROUND], default=IMAGENET_SAMPLE)
    own = dict(recipe.options)
    for key, default in recipe.tuned.items() if not network.follows_paper else ():
        own[key] = dataclasses.replace(own[key], default=default)
    return {**own, **scorer, **backbone, **data_options(config)}


def _sized(config: RunConfig, task: OneClassTask) -> RunConfig:
    """Return `config` with the side that images handed over call for, where neither it nor its network names one."""
    network = find_backbone(str(with_defaults(config).backbone))
    if config.dataset != GIVEN_IMAGES or config.image_size or network.image_size:
        return config
    return config.replace(image_size=learning_side(typical_side(task.train)))


def turns(config: RunConfig, rows: np.ndarray) -> list[np.ndarray]:
    """Return the groups in which training images `rows` (N,) calibrate in turn; empty where some are held out instead.

    They do where nothing is trained: a group then costs a space and a scorer. A trained network has seen them all, and
    training once for each group would take as many times as long.
    """
    if find_recipe(config.recipe).steps or config.scorer == OWN or config.set["calibrate_on"] != "held-out":
        return []
    return in_turn(rows, config.seed)


def open_task(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config."""
    return open_calibrating(config, lambda count: count if turns(config, np.arange(count)) else count_held_out(count))


def prepare(config: RunConfig, task: OneClassTask | None = None) -> AdaptPlan:
    """Return the plan of `config`: data opened, network loaded, device chosen. `task` replaces the dataset."""
    import torch

    config = resolve(config if task is None else _sized(config, task))
    device = choose_device(config.device)
    config = with_known_range(config) if task is None else config
    task = within_region(open_task(config) if task is None else check_given(task), config)
    config, network = load_network(config, device)
    scorer = None if config.scorer == OWN else find_scorer(str(config.scorer))
    options = {key: config.set[key] for key in (scorer.options if scorer else ())}
    _check_counts(config, task, options)
    recipe = find_recipe(config.recipe)
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
    return AdaptPlan(config, network, task, device, recipe, scorer)


def _check_counts(config: RunConfig, task: OneClassTask, scorer_options: Mapping[str, Any]) -> None:
    """Raise `UsageError` where there are too few normal images for the scorer or for the stop rule."""
    own = len(task.train) - len(task.reserved)
    groups = turns(config, np.arange(own))
    compared = own - (max(map(len, groups)) if groups else count_held_out(own))
    for key in ("k", "means"):
        if key in scorer_options and int(scorer_options[key]) > compared:
            allowed = "1" if compared == 1 else f"in [1, {compared}]"
            raise UsageError(
                f"`{key}` of scorer `{config.scorer}` must be {allowed}, since test images are compared with "
                f"{compared} normal one{'s' * (compared > 1)}; got {scorer_options[key]}. "
                f"Set `--set {key}={min(2, compared)}`."
            )
    if find_recipe(config.recipe).stop == "ses" and len(task.train) < FEWEST:
        raise UsageError(
            f"Recipe `{config.recipe}` needs at least {FEWEST} normal images, to hold some out; "
            f"got {len(task.train)}. Add images or use `--recipe panda-early`."
        )
