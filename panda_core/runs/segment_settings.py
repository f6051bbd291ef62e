"""The settings of a segmentation run, checked and written out before anything is computed.

A segmentation run is described by the same `RunConfig` as an adaptation, with a key of `SEGMENTERS` as its recipe.
What steers an adaptation must then be left alone: a value that would have no effect is refused.
"""

from __future__ import annotations

from pathlib import Path

from panda_core.config import RunConfig, flag
from panda_core.errors import PandaError, UsageError, unknown_name
from panda_core.generalising import is_generalisation
from panda_core.runs.store import RunFolder
from panda_core.segmentation import SEGMENTERS

TURNS = (1, 2, 4, 8)


def is_segmentation(config: RunConfig) -> bool:
    """Return whether `config` describes a run that gives maps: patches are compared, or it generalises."""
    return config.recipe in SEGMENTERS or is_generalisation(config)


def check_segmentation(config: RunConfig) -> None:
    """Raise `UsageError` for a value that a segmentation run would ignore."""
    for key, neutral in (
        ("steps", (None, 0)),
        ("lr", (None,)),
        ("eval_every", (None,)),
        ("scorer", (None, "knn")),
        ("batch_size", (None, 32)),
    ):
        value = getattr(config, key)
        if value not in neutral:
            raise UsageError(
                f"`{key}` has no effect with recipe `{config.recipe}`, which adapts nothing; got `{value}`. "
                f"Leave `{flag(key)}` out."
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
