"""The settings of a run that generalises to a new class, checked and written out before anything is computed.

`dataset` and `normal_class` say which class is new; the option `seen` says which are trained on.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from panda_core.backbones import find_backbone
from panda_core.config import TILES_OFF, Option, RunConfig
from panda_core.datasets import absolute_key, find_class, find_dataset
from panda_core.errors import DataMissing, UsageError
from panda_core.few_shot.table import GENERALISERS
from panda_core.records import MARK
from panda_core.runs.settings import (
    BACKBONE,
    MAP_SIZE,
    check_cut,
    check_here,
    check_maps,
    check_neutral,
    data_options,
    levels_of,
    resolved_options,
)

LEVELS = 3


@dataclasses.dataclass(frozen=True)
class SeenSpec:
    """A class that is trained on. kinds: the anomalies that are, by their names; empty: all that there are."""

    dataset: str
    normal_class: str
    kinds: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join((self.normal_class, *self.kinds)) + f"@{self.dataset}"


def resolve(config: RunConfig) -> RunConfig:
    """Return `config` with every default written out; `UsageError` or `DataMissing` for what cannot be."""
    row, options = GENERALISERS[config.recipe], options_of(config)
    if config.roi:
        raise UsageError(
            f"`roi` is for detectors of one class, and recipe `{config.recipe}` learns from several, in whose images "
            f"other parts count; got `{config.roi.partition(MARK)[0]}`. Leave `--roi` out, or crop the images."
        )
    neutral = {"scorer": (None, "knn"), "feature_norm": (None, "none"), "eval_every": (None,), "tiles": (TILES_OFF,)}
    check_neutral(config, neutral, why="")
    backbone = find_backbone(config.backbone or BACKBONE)
    check_here(_missing(config.dataset, config))
    check_here(backbone.missing())
    check_maps(config, backbone)
    chosen = resolved_options(config.set, options)
    for key, fits, what in (
        ("neighbourhood", int(chosen["neighbourhood"]) % 2 == 1, "odd"),
        ("position_width", int(chosen["position_width"]) % 4 == 0, "a multiple of 4"),
    ):
        if not fits:
            raise UsageError(f"`{key}` must be {what}; got {chosen[key]}. Set `--set {key}={options[key].default}`.")
    check_cut(config.replace(backbone=backbone.key, set=chosen))
    steps = row.steps if config.steps is None else config.steps
    if steps < 1:
        raise UsageError(f"`steps` of recipe `{config.recipe}` must be at least 1; got {steps}. Set `--steps 100`.")
    resolved = config.replace(
        normal_class=find_class(find_dataset(config.dataset), Path(config.data_root), config.normal_class),
        backbone=config.backbone or BACKBONE,
        scorer="knn",
        feature_norm="none",
        image_size=config.image_size or backbone.image_size or MAP_SIZE,
        steps=steps,
        batch_size=config.batch_size or row.batch_size,
        lr=row.lr if config.lr is None else config.lr,
        set=chosen,
    )
    seen = [str(spec) for spec in seen_specs(resolved)]
    return resolved.replace(set={**chosen, "seen": ",".join(seen)})


def options_of(config: RunConfig) -> dict[str, Option]:
    """Return the `--set` options that the config's recipe and backbone understand, by key."""
    backbone = find_backbone(config.backbone or BACKBONE)
    return {**GENERALISERS[config.recipe].options, **backbone.options, **data_options(config)}


def levels_used(config: RunConfig, stages: tuple[str, ...], levels: tuple[str, ...], cut: str) -> tuple[str, ...]:
    """Return the stages whose maps are used: those named, else the deepest three of the network's own, as ResAD has.

    A finer one costs more time than all others together: four times as many places, each with four times as many to
    be compared with.
    """
    named = levels_of(config, stages, levels, cut)
    return named if config.set["levels"] else named[-LEVELS:]


def seen_specs(config: RunConfig) -> tuple[SeenSpec, ...]:
    """Return the classes that a config trains on, none of them its new class; their names are checked.

    Without `seen` they are the other classes of the data set; of more than three, the first half in its order, so
    that some stay unseen. A class is the same class only in the same data set. The new class itself may be named with
    kinds of its anomalies: those are trained on, and the test is on the others.
    """
    dataset, root = find_dataset(config.dataset), Path(config.data_root)
    text = str(config.set["seen"]).strip()
    if not text:
        others = [name for name in dataset.classes(root) if name != config.normal_class]
        if not others:
            raise UsageError(
                f"`{dataset.key}` has no other class to train on. Name some with `--set seen=CLASS@DATASET`, "
                "for instance `--set seen=mono@elpv`."
            )
        chosen = others if len(others) <= 3 else others[: (len(others) + 1) // 2]
        return tuple(SeenSpec(config.dataset, name) for name in chosen)
    specs: list[SeenSpec] = []
    for item in text.split(","):
        names, at, key = item.strip().partition("@")
        if not at or not names or not key:
            raise UsageError(f"`seen` must be CLASS@DATASET; got `{item.strip()}`. Set `--set seen=mono@elpv`.")
        key, (normal, *kinds) = absolute_key(key), names.split("/")
        if (missing := _missing(key, config)) is not None:
            raise DataMissing(missing)
        spec = SeenSpec(key, find_class(find_dataset(key), root, normal), tuple(kinds))
        if (spec.dataset, spec.normal_class) == (config.dataset, config.normal_class) and not spec.kinds:
            raise UsageError(
                f"`{spec}` is the new class, which must not be trained on. Leave it out of `--set seen=`, or name the "
                "kinds of its anomalies that may be seen: CLASS/KIND@DATASET."
            )
        if spec in specs:
            raise UsageError(f"`{spec}` is named twice in `seen`. Name it once.")
        specs.append(spec)
    return tuple(specs)


def _missing(key: str, config: RunConfig) -> str | None:
    return find_dataset(key).missing(Path(config.data_root))
