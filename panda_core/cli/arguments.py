"""The commands and their flags."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NoReturn

from panda_core.bench.grid import built_in_grids
from panda_core.bench.workers import BACKENDS
from panda_core.cli import bench, data, exporting, generalizing, listing, reporting, running, scoring
from panda_core.config import DEVICES, FEATURE_NORMS, RunConfig, default_runs_dir, flag

_HELP = {
    "dataset": "key of a dataset (see `datasets`), or folder:PATH",
    "normal_class": "name or index of the class that is normal (default: the first)",
    "recipe": "how to adapt (see `recipes`)",
    "scorer": "how to score features (see `scorers`; default: the recipe's)",
    "backbone": "network (see `backbones`), or timm:NAME (default: the recipe's)",
    "image_size": "side of the network's input in pixels (default: the dataset's)",
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
    "name": "a name for people",
    "device": "one of " + ", ".join(DEVICES),
}
# What adapting and scoring whole features needs, and patches do not.
_SEGMENT_HELP = {
    **{
        field: about
        for field, about in _HELP.items()
        if field not in ("steps", "lr", "eval_every", "scorer", "batch_size")
    },
    "recipe": "patchcore or spade (default: patchcore)",
}
_GENERALIZE_HELP = {
    **{field: about for field, about in _HELP.items() if field not in ("eval_every", "scorer", "feature_norm")},
    "dataset": "key of the data set of the new class (see `datasets`), or folder:PATH",
    "normal_class": "name or index of the new class, which is not trained on (default: the first)",
    "recipe": "resad (default: resad)",
    "train_limit": "draw references among at most so many normal images of the new class, chosen by the seed",
}
_WHOLE_NUMBERS = ("image_size", "steps", "batch_size", "eval_every", "train_limit", "test_limit", "seed")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the page of usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message[:1].upper() + message[1:]}. See `{self.prog} --help`.\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command's function is its `command` default."""
    root = _Parser(prog="python -m panda_core", description="Adapt pretrained features to normal images.")
    commands = root.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, function: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        command.add_argument("--json", action="store_true", help="machine-readable output, and nothing else, on stdout")
        command.set_defaults(command=function)
        return command

    doctor = add("doctor", listing.doctor, "Check the installation and the data root, and say what works.")
    datasets = add("datasets", data.datasets_command, "List the data sets, fetch one, or check one.")
    _add_data(datasets)
    for command in (doctor, datasets):
        command.add_argument("--data-root", default=RunConfig().data_root, metavar="DIR", help=_HELP["data_root"])
    add("backbones", listing.backbones, "List the pretrained networks.")
    add("recipes", listing.recipes, "List the ways to adapt, to map and to generalise, with their options.")
    add("scorers", listing.scorers, "List the ways to score features, with their options.")

    run = add("run", running.run_command, "Adapt to one normal class and record the curves.")
    _add_config_flags(run, _HELP)
    segment = add("segment", running.segment_command, "Compare patches with normal ones and map where defects are.")
    _add_config_flags(segment, _SEGMENT_HELP)
    segment.set_defaults(recipe="patchcore")
    generalize = add("generalize", generalizing.generalize_command, "Train on some classes, test on a new one.")
    _add_config_flags(generalize, _GENERALIZE_HELP)
    generalize.set_defaults(recipe="resad")
    resume = add("resume", running.resume_command, "Continue a run from its last checkpoint.")
    _add_run(resume)
    resume.add_argument("--queue", action="store_true", help="wait until no other run of the folder computes")

    list_ = add("list", running.list_command, "List the runs of a folder, newest first.")
    list_.add_argument("--runs-dir", default=default_runs_dir(), metavar="DIR", help=_HELP["runs_dir"])
    _add_run(add("show", running.show_command, "Summarise a run: settings, curve, result."))
    _add_run(add("verify", running.verify_command, "Compute a finished run's scores again and say equal or not."))

    score = add("score", scoring.score_command, "Score images or folders with a run, or with a bundle.")
    _add_run(score, "path of a run folder or of a bundle (a folder or a .zip), or the id of a run below --runs-dir")
    score.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
    score.add_argument("--csv", action="store_true", help="comma-separated values on stdout")
    report = add("report", reporting.report_command, "Write a run as one HTML file that opens anywhere.")
    _add_run(report)
    report.add_argument("-o", "--output", required=True, metavar="FILE.html", help="the file to write")
    export = add("export", exporting.export_command, "Write a run's detector for use elsewhere, checked.")
    _add_run(export)
    export.add_argument("out", metavar="OUT", help="the file; for a bundle a new folder, or a .zip")
    export.add_argument(
        "--format",
        choices=tuple(exporting.SUFFIXES),
        default="onnx",
        help="onnx, torchscript: one graph from pixels to the score; bundle: safetensors and JSON (default: onnx)",
    )
    _add_bench(add("bench", bench.bench_command, "Run a grid: data sets, classes, recipes and seeds in one table."))
    score.add_argument(
        "--references",
        action="append",
        metavar="PATH",
        help="normal images of a new class, files or folders, for a run of `generalize`",
    )
    for command in (segment, generalize, score):
        command.add_argument("--maps", metavar="OUT", help="write PNG and NPY of each map: a new folder, or a .zip")
    score.add_argument(
        "--false-alarm-rate", type=float, default=0.05, metavar="X", help="of normal images, for the verdict (0.05)"
    )
    return root


def _add_data(command: argparse.ArgumentParser) -> None:
    either = command.add_mutually_exclusive_group()
    either.add_argument("--download", metavar="KEY", help="fetch this data set into the data root")
    either.add_argument(
        "--check",
        metavar="KEY",
        help="look for duplicates, broken files and giveaways; exit 1 if figures are worthless",
    )
    command.add_argument("--normal-class", metavar="CLASS", help=f"for --check: {_HELP['normal_class']}")
    command.add_argument("--seed", type=_typed(int), default=0, metavar="SEED", help="for --check: of the split (0)")
    for name in ("train_limit", "test_limit"):
        command.add_argument(flag(name), type=_typed(int), metavar=name.upper(), help=f"for --check: {_HELP[name]}")


def _add_bench(command: argparse.ArgumentParser) -> None:
    known = ", ".join(built_in_grids())
    command.add_argument("grid", metavar="GRID", help=f"{known}, or a TOML or YAML file")
    command.add_argument("--jobs", type=_typed(int), metavar="N", help="cells at once (default: one a processor, to 8)")
    command.add_argument("--backend", default=BACKENDS[0], help="loky: processes here; dask: a cluster that exists")
    command.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster, for instance tcp://HOST:8786")
    command.add_argument("--runs-dir", default=default_runs_dir(), metavar="DIR", help=_HELP["runs_dir"])
    command.add_argument("--data-root", default=RunConfig().data_root, metavar="DIR", help=_HELP["data_root"])
    command.add_argument(
        "--out", metavar="DIR", help="folder of the grid's runs and tables (default: RUNS_DIR/bench/GRID)"
    )
    command.add_argument("--device", default="auto", help=_HELP["device"])
    command.add_argument(
        "--dry-run", action="store_true", help="list the cells and what cannot be run, compute nothing"
    )


def _add_run(command: argparse.ArgumentParser, about: str = "path of a run folder, or its id below --runs-dir") -> None:
    command.add_argument("run", metavar="RUN", help=about)
    command.add_argument("--runs-dir", default=default_runs_dir(), metavar="DIR", help=_HELP["runs_dir"])


def _add_config_flags(command: argparse.ArgumentParser, fields: Mapping[str, str]) -> None:
    default = RunConfig()
    for field, about in fields.items():
        value = getattr(default, field)
        kind = int if field in _WHOLE_NUMBERS else float if field == "lr" else str
        shown = f"{about} (default: {value})" if value not in (None, "") and "default:" not in about else about
        command.add_argument(flag(field), default=value, type=_typed(kind), metavar=field.upper(), help=shown)
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the recipe, scorer or backbone"
    )


def _typed(kind: type) -> Any:
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
    from panda_core.errors import UsageError

    options = {}
    for item in parsed.set:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"`--set` needs KEY=VALUE; got `{item}`. For instance `--set k=2`.")
        options[key] = value
    fields = {field: getattr(parsed, field) for field in _HELP if hasattr(parsed, field)}
    return RunConfig(**fields, set=options)
