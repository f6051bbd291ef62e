"""The settings of a segmentation run, checked and written out before anything is computed.

A segmentation run is described by the same `RunConfig` as an adaptation, with a key of `SEGMENTERS` as its recipe.
What steers an adaptation must then be left alone: a value that would have no effect is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from panda_core.backbones import find_backbone
from panda_core.config import Option, RunConfig, flag
from panda_core.errors import PandaError, UsageError, unknown_name
from panda_core.few_shot.table import is_generalisation
from panda_core.runs.folder import RunFolder
from panda_core.segmentation.table import SEGMENTERS

TURNS = (1, 2, 4, 8)
FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig))


def is_segmentation(config: RunConfig) -> bool:
    """Return whether `config` describes a run that gives maps: patches are compared, or it generalises."""
    return config.recipe in SEGMENTERS or is_generalisation(config)


def check_segmentation(config: RunConfig) -> None:
    """Raise `UsageError` for a value that a segmentation run would ignore."""
    none: tuple[object, ...] = (None,)
    check_neutral(
        config,
        {"steps": (None, 0), "lr": none, "eval_every": none, "scorer": (None, "knn"), "batch_size": (None, 32)},
    )


def check_neutral(config: RunConfig, neutral_values: Mapping[str, tuple[object, ...]]) -> None:
    """Raise `UsageError` for a field that has no effect in a run that adapts nothing, unless it is neutral."""
    for key, neutral in neutral_values.items():
        value = getattr(config, key)
        if value not in neutral:
            raise UsageError(
                f"`{key}` has no effect with recipe `{config.recipe}`, which adapts nothing; got `{value}`. "
                f"Leave `{flag(key)}` out."
            )


def check_needs(config: RunConfig, options: Mapping[str, Option]) -> None:
    """Raise `UsageError` for an option that the config's other settings leave without effect, unless it is default."""
    values = {**config.to_json(), **config.set}
    for key, option in options.items():
        unmet = option.unmet(values)
        if unmet is not None and values[key] != option.default:
            wanted = " or ".join(f"`{value}`" for value in option.needs[unmet])
            raise UsageError(
                f"`{key}` has no effect while `{unmet}` is `{values[unmet]}`: it needs {wanted}; got `{values[key]}`. "
                f"Leave `--set {key}=` out, or set `{flag(unmet) + ' ' if unmet in FIELDS else f'--set {unmet}='}"
                f"{option.needs[unmet][0]}`."
            )


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


def check_cut(config: RunConfig, also: str = "") -> None:
    """Raise `UsageError` for a cut that nothing depends on: maps come from named stages. also: another one allowed."""
    row, cut = find_backbone(str(config.backbone)), config.set["cut"]
    if row.cuts and cut not in (row.cut, also):  # a timm network's own is known once it is loaded
        raise UsageError(f"`cut` has no effect with recipe `{config.recipe}`; got `{cut}`. Leave `--set cut=` out.")


def adapted_run(config: RunConfig) -> RunFolder | None:
    """Return the run whose adapted network is used, or None; `UsageError` where it does not fit `config`."""
    if not config.set.get("adapted"):
        return None
    folder = RunFolder.open(str(config.set["adapted"]), config.runs_dir)
    other = folder.config()
    if is_segmentation(other):
        raise UsageError(f"Run `{folder.run_id}` is a segmentation and has no adapted network. Name another run.")
    if other.backbone != config.backbone:
        raise UsageError(
            f"Run `{folder.run_id}` adapted `{other.backbone}`, not `{config.backbone}`. "
            f"Set `--backbone {other.backbone}`."
        )
    return folder


def with_adapted_cut(config: RunConfig) -> RunConfig:
    """Return `config` with the cut of the adapted run, where it names one: its checkpoints fit no other."""
    folder = adapted_run(config)
    if folder is None:
        return config
    check_cut(config, str(folder.config().set["cut"]))
    return config.replace(set={**config.set, "cut": folder.config().set["cut"], "adapted": str(folder.path.resolve())})


def checkpoints_of(config: RunConfig) -> list[int]:
    """Return the steps whose networks are used, ascending: [0] for the pretrained one."""
    folder = adapted_run(config)
    if folder is None:
        return [0]
    steps = sorted(int(path.stem) for path in (folder.path / "checkpoints").glob("*.safetensors"))
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


def levels_of(config: RunConfig, stages: tuple[str, ...], levels: tuple[str, ...], cut: str) -> tuple[str, ...]:
    """Return the stages whose maps are compared: those named, else the network's own.

    With an adapted network only stages after the cut show what the adaptation did: those of the network's own that
    lie there, or the first two if these are fewer.
    """
    named = [part.strip() for part in str(config.set["levels"]).split(",") if part.strip()]
    for stage in named:
        if stage not in stages:
            raise unknown_name("stage", stage, stages, "--set levels=")
    if named:
        return tuple(named)
    if config.set["adapted"] and cut in stages:
        # A traced network names its parts as well; `layer2.0` follows `layer2` and is not after it.
        adapted = tuple(stage for stage in stages[stages.index(cut) + 1 :] if stage.count(".") == cut.count("."))
        usual = tuple(stage for stage in levels if stage in adapted)
        return usual if len(usual) > 1 else adapted[:2]
    if not levels:
        raise UsageError("This network names no stages of its own. Set `--set levels=NAME,NAME`.")
    return levels


def tail_file(config: RunConfig, step: int) -> Path | None:
    """Return the checkpoint of the adapted run at `step`, or None for the pretrained network."""
    folder = adapted_run(config)
    return None if folder is None else folder.path / "checkpoints" / f"{step:06d}.safetensors"
