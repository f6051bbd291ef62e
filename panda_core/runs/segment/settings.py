"""The settings of a segmentation run, checked and written out before anything is computed.

A segmentation run is described by the same `RunConfig` as an adaptation, with a key of `SEGMENTERS` as its recipe.
What steers an adaptation must then be left alone: a value that would have no effect is refused.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from panda_core.backbones import find_backbone
from panda_core.config import Option, RunConfig
from panda_core.datasets import OneClassTask
from panda_core.errors import PandaError, UsageError, unknown_name
from panda_core.methods.table import RECIPES
from panda_core.runs.folder import CHECKPOINTS, RunFolder
from panda_core.runs.segment.photos import cut_into_tiles
from panda_core.runs.settings import (
    BACKBONE,
    MAP_SIZE,
    WEIGHTS,
    Plan,
    check_cut,
    check_data,
    check_given,
    check_here,
    check_maps,
    check_needs,
    check_neutral,
    choose_device,
    data_options,
    levels_of,
    load_network,
    open_calibrating,
    resolved_options,
    with_known_range,
    within_region,
)
from panda_core.segmentation.calibration import calibrating_images
from panda_core.segmentation.table import SEGMENTERS

if TYPE_CHECKING:
    from panda_core.backbones.network import Network

TURNS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class SegmentPlan(Plan):
    """All that a segmentation needs.

    levels: stages that are compared. steps: checkpoints whose network is used.
    photo: (height, width) of the photos, where tiles were asked for.
    """

    levels: tuple[str, ...]
    steps: tuple[int, ...]
    photo: tuple[int, int] | None = dataclasses.field(default=None, kw_only=True)


def resolve(config: RunConfig) -> RunConfig:
    """Return `config` with every None and every option of its recipe and backbone written out.

    Raises `UsageError` for a name or value that cannot be, `DataMissing` where data or weights are absent.
    """
    none: tuple[object, ...] = (None,)
    check_neutral(
        config,
        {"steps": (None, 0), "lr": none, "eval_every": none, "scorer": (None, "knn"), "batch_size": (None, 32)},
    )
    config = config.replace(backbone=config.backbone or BACKBONE, scorer="knn", batch_size=32)
    backbone = find_backbone(str(config.backbone))
    normal_class, _ = check_data(config)
    check_here(backbone.missing())
    check_maps(config, backbone)
    options, row = options_of(config), SEGMENTERS[config.recipe]
    if config.feature_norm == "whiten" and row.unwhitened:
        raise UsageError(
            f"Recipe `{config.recipe}` {row.unwhitened}, and `--feature-norm whiten` takes that away. "
            "Set `--feature-norm none` or `l2`."
        )
    resolved = config.replace(
        normal_class=normal_class,
        image_size=config.image_size or backbone.image_size or MAP_SIZE,
        feature_norm=config.feature_norm or row.feature_norm or backbone.feature_norm,
        set=resolved_options(config.set, options),
    )
    check_needs(resolved, options)
    check_options(resolved)
    return with_adapted_network(resolved)


def options_of(config: RunConfig) -> dict[str, Option]:
    """Return the `--set` options that the config's recipe and backbone understand, by key."""
    network = find_backbone(config.backbone or BACKBONE)
    return {**SEGMENTERS[config.recipe].options, **network.options, **data_options(config)}


def open_task(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config."""
    return open_calibrating(config, calibrating_images)


def prepare(config: RunConfig, task: OneClassTask | None = None) -> SegmentPlan:
    """Return the plan of `config`: data opened, network loaded, device chosen. `task` replaces the dataset."""
    config = resolve(config)
    device = choose_device(config.device)
    config = with_known_range(config) if task is None else config
    task = within_region(open_task(config) if task is None else check_given(task), config)
    config, task, photo = cut_into_tiles(config, task)
    config, network = load_network(config, device)
    levels, steps = compared_levels(config, network), tuple(checkpoints_of(config))
    return SegmentPlan(config, network, task, device, levels, steps, photo=photo)


def compared_levels(config: RunConfig, network: Network) -> tuple[str, ...]:
    """Return the stages that are compared: those named, else the network's own, or of these as many as the recipe has.

    The deepest ones, for a method that compares fewer.
    """
    levels, wanted = levels_of(config, network.stages, network.levels, network.cut), SEGMENTERS[config.recipe].levels
    return levels if config.set["levels"] or wanted is None else levels[-wanted:]


def check_options(config: RunConfig) -> None:
    """Raise `UsageError` for options, already written out, that do not go together."""
    options = config.set
    if options.get("rotations", 1) not in TURNS:
        raise UsageError(f"`rotations` must be 1, 2, 4 or 8; got {options['rotations']}. Set `--set rotations=4`.")
    if int(options["neighbourhood"]) % 2 == 0:
        raise UsageError(f"`neighbourhood` must be odd; got {options['neighbourhood']}. Set `--set neighbourhood=3`.")
    if options.get("reweight", 0):
        if options["top"] != 0 or options["image_score"] != "part":
            raise UsageError(
                f"`reweight` belongs to the highest patch alone; `top` is {options['top']:g} and `image_score` "
                f"`{options['image_score']}`. Set `--set top=0 --set image_score=part` as well."
            )
        if int(options["reweight"]) < 2:
            raise UsageError("`reweight` must be 0 (off) or at least 2: one neighbour would make every score 0.")
    if not options["adapted"] and options["checkpoint"] != "last":
        raise UsageError("`checkpoint` belongs to an adapted run. Name one with `--set adapted=RUN`.")
    if not options["adapted"]:
        check_cut(config)


def adapted_run(config: RunConfig) -> RunFolder | None:
    """Return the run whose adapted network is used, or None; `UsageError` where it does not fit `config`."""
    if not config.set.get("adapted"):
        return None
    folder = RunFolder.open(str(config.set["adapted"]), config.runs_dir)
    other = folder.config()
    if other.recipe not in RECIPES:
        raise UsageError(f"Run `{folder.run_id}` is a segmentation and has no adapted network. Name another run.")
    if other.backbone != config.backbone:
        raise UsageError(
            f"Run `{folder.run_id}` adapted `{other.backbone}`, not `{config.backbone}`. "
            f"Set `--backbone {other.backbone}`."
        )
    return folder


def with_adapted_network(config: RunConfig) -> RunConfig:
    """Return `config` with cut and weights of the adapted run, where it names one: its checkpoints fit no others."""
    folder = adapted_run(config)
    if folder is None:
        return config
    other = folder.config().set
    cut, weights, asked = other["cut"], other.get(WEIGHTS, ""), config.set.get(WEIGHTS, "")
    check_cut(config, str(cut))
    if asked not in ("", weights):
        raise UsageError(
            f"Run `{folder.run_id}` was computed with other weights than `{asked}`. Leave `--set weights=` out."
        )
    adapted = str(folder.path.resolve())
    return config.replace(set={**config.set, "cut": cut, WEIGHTS: weights, "adapted": adapted})


def checkpoints_of(config: RunConfig) -> list[int]:
    """Return the steps whose networks are used, ascending: [0] for the pretrained one."""
    folder = adapted_run(config)
    if folder is None:
        return [0]
    steps = folder.steps_in(CHECKPOINTS)
    if not steps:
        raise PandaError(f"Run `{folder.run_id}` has no checkpoint yet. Wait for its first evaluation.")
    wanted = str(config.set["checkpoint"])
    if wanted == "all":
        return steps
    if wanted == "last":
        return steps[-1:]
    if wanted not in map(str, steps):
        raise unknown_name("checkpoint", wanted, ["last", "all", *map(str, steps)], "--set checkpoint=")
    return [int(wanted)]


def tail_file(config: RunConfig, step: int) -> Path | None:
    """Return the checkpoint of the adapted run at `step`, or None for the pretrained network."""
    folder = adapted_run(config)
    return None if folder is None else folder.checkpoint(step)
