"""The flags that several commands share: those of a config, of a run and of folders."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from panda_core.config import DEVICES, FEATURE_NORMS, RunConfig, default_runs_dir, flag
from panda_core.errors import UsageError

HELP = {
    "dataset": "key of a dataset (see `datasets`), or folder:PATH",
    "normal_class": "name or index of the class that is normal (default: the first)",
    "recipe": "how to adapt (see `recipes`)",
    "scorer": "how to score features (see `scorers`; default: the recipe's)",
    "backbone": "network (see `backbones`), or timm:NAME (default: the recipe's)",
    "image_size": "side of the network's input in pixels (default: the dataset's); maps: the nearest multiple of 32",
    "feature_norm": "space of loss and scores: " + ", ".join(FEATURE_NORMS) + " (default: the backbone's)",
    "steps": "optimiser steps (default: the recipe's)",
    "batch_size": "images a step (default: the recipe's)",
    "lr": "learning rate (default: the recipe's, or the backbone's)",
    "eval_every": "steps between two points of the curve (default: an eighth of the steps)",
    "train_limit": "use at most so many normal training images, chosen by the seed",
    "test_limit": "use at most so many test images, as many from every class, chosen by the seed",
    "seed": "seed of everything random",
    "data_root": "folder with the data sets (default: $PANDA_DATA, else ~/.cache/panda_core/data)",
    "runs_dir": "folder for run folders (default: $PANDA_RUNS, else runs)",
    "tiles": "large photos, for runs that compare patches: off, N overlapping tiles along the longer side (2 to 16), "
    "or auto, up to 4 of them (default: off; 4 take up to 16 times as long)",
    "name": "a name for people",
    "roi": "image file of the region of interest, white where pictures count (default: all of them counts)",
    "device": "one of " + ", ".join(DEVICES) + ", or cuda:N for one of several",
}
# What adapting and scoring whole features needs, and patches do not.
SEGMENT_HELP = {
    **{
        field: about
        for field, about in HELP.items()
        if field not in ("steps", "lr", "eval_every", "scorer", "batch_size")
    },
    "recipe": "patchcore, spade, anomalydino or subspacead (default: patchcore)",
}
GENERALIZE_HELP = {
    **{
        field: about
        for field, about in HELP.items()
        if field not in ("eval_every", "scorer", "feature_norm", "roi", "tiles")
    },
    "dataset": "key of the data set of the new class (see `datasets`), or folder:PATH",
    "normal_class": "name or index of the new class, which is not trained on (default: the first)",
    "recipe": "resad (default: resad)",
    "train_limit": "draw references among at most so many normal images of the new class, chosen by the seed",
}
_WHOLE_NUMBERS = ("image_size", "steps", "batch_size", "eval_every", "train_limit", "test_limit", "seed")


def add_runs_dir(command: argparse.ArgumentParser) -> None:
    """Add the folder of run folders."""
    command.add_argument("--runs-dir", default=default_runs_dir(), metavar="DIR", help=HELP["runs_dir"])


def add_data_root(command: argparse.ArgumentParser) -> None:
    """Add the folder of data sets."""
    command.add_argument("--data-root", default=RunConfig().data_root, metavar="DIR", help=HELP["data_root"])


def add_run(command: argparse.ArgumentParser, about: str = "path of a run folder, or its id below --runs-dir") -> None:
    """Add the run that a command is about."""
    command.add_argument("run", metavar="RUN", help=about)
    add_runs_dir(command)


def add_config_flags(command: argparse.ArgumentParser, fields: Mapping[str, str]) -> None:
    """Add a flag for each field of a config, and `--set`. fields: name -> help."""
    default = RunConfig()
    for field, about in fields.items():
        value = getattr(default, field)
        kind = int if field in _WHOLE_NUMBERS else float if field == "lr" else str
        shown = f"{about} (default: {value})" if value not in (None, "") and "default:" not in about else about
        command.add_argument(flag(field), default=value, type=typed(kind), metavar=field.upper(), help=shown)
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the recipe, scorer or backbone"
    )


def typed(kind: type) -> Any:
    """Return a converter whose failure reads as a sentence."""

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {what}; got `{text}`") from None

    return convert


def config_of(parsed: argparse.Namespace) -> RunConfig:
    """Return the config that the flags describe; a malformed `--set` raises `UsageError`."""
    options = {}
    for item in parsed.set:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"`--set` needs KEY=VALUE; got `{item}`. For instance `--set k=2`.")
        options[key] = value
    fields = {field: getattr(parsed, field) for field in HELP if hasattr(parsed, field)}
    return RunConfig(**fields, set=options)
