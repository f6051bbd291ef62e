"""What a grid will cost before it is run: how long, how much disk, and what has to be fetched first.

Times come from cells like it that have been computed, else from the speed of its network on this machine's device
(`panda_core.bench.speed`), times the number of images that a cell looks at. Comparing features is not counted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panda_core.backbones.timm_networks import PREFIX
from panda_core.bench.cells import Cell, Plan
from panda_core.bench.counts import image_counts
from panda_core.bench.folder import GridFolder
from panda_core.config import RunConfig, cache_cap
from panda_core.datasets import DATASETS
from panda_core.datasets.sets.imagenet import missing_imagenet
from panda_core.errors import UsageError
from panda_core.methods.options import OWN
from panda_core.methods.table import RECIPES, Recipe
from panda_core.torchvision_operators import load_timm

# Images that go through the tail for each of a batch: outliers, or images of the pretraining, beside the normal ones;
# two views; four rotations.
PER_IMAGE = {"outlier_exposure": 2, "joint": 2, "mean_shifted": 2, "mhrot": 4}
VIEWS = 36  # in which MHRot scores an image
TEST_BYTES = 80  # of arrays, for each test image and measurement: scores, distances, pictures, neighbours
TRAIN_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Passes:
    """Images through a network: the trunk, forward through the tail, and forward and backward."""

    trunk: int
    forward: int
    training: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a cell costs. passes: None where its recipe is not counted in them.

    seconds: None where nothing says. how: where they come from, in words. done: it is computed already.
    kept: bytes of its run folder. cache: bytes of activations that it wants in the cache; where they do not fit, it
    keeps images there instead.
    """

    passes: Passes | None
    seconds: float | None
    how: str
    done: bool
    kept: int | None
    cache: int | None


def costs_of(plan: Plan, folder: GridFolder) -> dict[str, Cost]:
    """Return the cost of each cell of a plan by id, also of those whose data are not here.

    Networks are loaded and timed on the device that each cell names; where that is not here, times are unknown.
    """
    took = _finished(plan, folder)
    alike: dict[tuple[object, ...], list[float]] = {}
    for cell_id, seconds in took.items():
        alike.setdefault(_kind(plan.cells[cell_id].config), []).append(seconds)
    return {cell.id: _cost(cell, took.get(cell.id), alike.get(_kind(cell.config), [])) for cell in plan.cells.values()}


def _finished(plan: Plan, folder: GridFolder) -> dict[str, float]:
    """Return how many seconds each finished cell took."""
    seconds = {}
    for cell_id in plan.cells:
        run = folder.run(cell_id)
        if run.is_run() and run.written_state() == "finished":
            *_, (last, _offset) = run.events()
            seconds[cell_id] = float(getattr(last, "seconds", 0.0))
    return seconds


def _kind(config: RunConfig) -> tuple[object, ...]:
    """Return what cells that take equally long have in common."""
    names = ("dataset", "recipe", "scorer", "backbone", "image_size", "steps", "batch_size", "eval_every")
    return (*(getattr(config, name) for name in names), config.train_limit, config.test_limit)


def _cost(cell: Cell, took: float | None, alike: list[float]) -> Cost:
    config, counts = cell.config, image_counts(cell.config)
    if (cell.problem and not cell.missing) or counts is None or config.recipe not in RECIPES:
        return Cost(None, took, "finished" if took else "", took is not None, None, None)
    passes = passes_of(config, *counts)
    kept, cache = _bytes(config, *counts)
    if passes is not None and cache > cache_cap():  # images are kept, and their activations computed at every look
        passes = dataclasses.replace(passes, trunk=passes.trunk + passes.forward + passes.training)
    if took is not None:
        return Cost(passes, took, "finished", True, kept, cache)
    if alike:
        return Cost(
            passes,
            sum(alike) / len(alike),
            f"of `{config.recipe}` on {config.dataset} are the mean of finished cells like it",
            False,
            kept,
            cache,
        )
    seconds, how = _timed(config, passes)
    return Cost(passes, seconds, how, False, kept, cache)


def passes_of(config: RunConfig, train: int, test: int) -> Passes | None:
    """Return how many images a resolved config sends through its network, of `train` and `test` images.

    None where it is not the network that takes the time. The activations of a data set that the cache holds need no
    trunk, so that this is the most.
    """
    recipe = RECIPES[config.recipe]
    if recipe.only_backbones == ("pixels",):
        return None
    steps, batch = int(config.steps or 0), int(config.batch_size or 1)
    seen = steps * batch * PER_IMAGE.get(recipe.learner, 1)
    training = seen + int(config.set.get("ae_epochs", 0)) * train
    forward = measurements(config) * (train + test)
    if config.scorer == OWN and recipe.learner == "mhrot":
        forward += measurements(config) * VIEWS * test
    fisher = int(config.set["fisher_images"]) if recipe.penalty == "ewc" else 0
    fresh = seen if config.set.get("views") == "fresh" else 0
    return Passes(train + test + fisher + fresh, forward, training + fisher)


def measurements(config: RunConfig) -> int:
    """Return how often a resolved config is measured: at step 0, at each interval, and at the end."""
    steps, every = int(config.steps or 0), int(config.eval_every or 1)
    return 1 + -(-steps // every)


def checkpoints_kept(config: RunConfig, recipe: Recipe) -> int:
    """Return how many checkpoints a finished cell keeps: those that its stop rule looks at."""
    if recipe.stop == "ses":
        return measurements(config)
    return 2 if recipe.stop == "alarm" else 1


def _bytes(config: RunConfig, train: int, test: int) -> tuple[int, int]:
    """Return the bytes that a cell keeps, and those that it wants in the cache."""
    from panda_core.bench.speed import sizes_of

    sizes = sizes_of(str(config.backbone), str(config.set["cut"]), int(config.image_size or 0))
    kept = checkpoints_kept(config, RECIPES[config.recipe])
    arrays = measurements(config) * (TEST_BYTES * test + TRAIN_BYTES * train)
    entry = (train + test) * sizes.activations * (2 if config.set["cache_dtype"] == "float16" else 4)
    return kept * 4 * (sizes.weights + train * sizes.features) + arrays, entry


def _timed(config: RunConfig, passes: Passes | None) -> tuple[float | None, str]:
    from panda_core.bench.speed import speed_of
    from panda_core.runs.settings import choose_device

    if passes is None:
        return None, f"of `{config.recipe}` is known: a network does not decide it, and no cell like it has ended"
    try:
        device = choose_device(config.device)
    except UsageError:
        return None, f"is known: `{config.device}` is not on this machine. Plan the grid where it is"
    speed = speed_of(str(config.backbone), str(config.set["cut"]), int(config.image_size or 0), device)
    seconds = passes.trunk / speed.trunk + passes.forward / speed.forward + passes.training / speed.training
    return seconds, (
        f"of {config.backbone} at {config.image_size} px are those of its speed, measured now on `{device}`: "
        f"{speed.trunk:.3g} images a second through the trunk, {speed.forward:.3g} forward and {speed.training:.3g} "
        "forward and backward through the rest"
    )


def missing_of(plan: Plan) -> dict[str, str]:
    """Return what is not on this machine -> what to do, the command first where one fetches it."""
    missing: dict[str, str] = {}
    for cell in plan.cells.values():
        config, dataset = cell.config, DATASETS.get(cell.config.dataset)
        if cell.missing and dataset is not None and dataset.missing(Path(config.data_root)) == cell.problem:
            command = f"`{download_command(config)}`. " if dataset.download else ""
            missing[f"data set {config.dataset}"] = command + cell.problem
        elif cell.missing:
            missing[f"images beside the normal ones, of `{config.recipe}`"] = cell.problem
        weights = None if config.set.get("weights") else _weights(str(config.backbone))
        if weights is not None:
            missing[f"weights of {config.backbone}"] = weights
        recipe = RECIPES.get(config.recipe)
        if recipe is not None and recipe.penalty == "ewc" and (labelled := missing_imagenet(Path(config.data_root))):
            missing["labelled images for the Fisher diagonal"] = (
                f"{labelled} Without them it is taken from the normal images, which the paper does not do."
            )
    return missing


def download_command(config: RunConfig) -> str:
    """Return the command that fetches a config's data set."""
    return f"python -m panda_core datasets --download {config.dataset} --data-root {config.data_root}"


def _weights(backbone: str) -> str | None:
    """Return None where the weights of a network are on this machine, else what to do.

    Those of timm are downloaded when a run first needs them; whoever computes without a network fetches them before.
    """
    if not backbone.startswith(PREFIX):
        return None
    name = backbone.removeprefix(PREFIX)
    spec: Any = load_timm().get_pretrained_cfg(name)
    if spec is None or not spec.hf_hub_id or any(_hub_folder(spec.hf_hub_id).glob("snapshots/*/*model*")):
        return None
    fetch = (
        f"from panda_core.torchvision_operators import load_timm; load_timm().create_model('{name}', pretrained=True)"
    )
    return f'`python -c "{fetch}"` downloads them, as the first cell does where there is a network.'


def _hub_folder(repository: str) -> Path:
    """Return where the Hugging Face hub, from which timm downloads, keeps a repository on this machine."""
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{repository.replace('/', '--')}"


def total(costs: Mapping[str, Cost]) -> tuple[float, int]:
    """Return the seconds of the cells that are not computed yet, and the bytes that all keep, as far as known."""
    seconds = sum(cost.seconds or 0.0 for cost in costs.values() if not cost.done)
    return seconds, sum(cost.kept or 0 for cost in costs.values())
