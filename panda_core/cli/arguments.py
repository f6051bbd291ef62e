"""The commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from panda_core import __version__
from panda_core.bench.grid import built_in_grids
from panda_core.bench.workers import BACKENDS
from panda_core.cli import bench, correcting, data, exporting, listing, reporting, running, scoring, serving
from panda_core.cli.flags import (
    GENERALIZE_HELP,
    HELP,
    SEGMENT_HELP,
    add_config_flags,
    add_data_root,
    add_run,
    add_runs_dir,
    typed,
)
from panda_core.config import flag
from panda_core.runs.calibration import RATE

Add = Callable[[str, Any, str], argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, without the page of usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message[:1].upper() + message[1:]}. See `{self.prog} --help`.\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser; each command's function is its `command` default."""
    root = _Parser(prog="python -m panda_core", description="Adapt pretrained features to normal images.")
    root.add_argument("--version", action="version", version=__version__)
    commands = root.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, function: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        command.add_argument("--json", action="store_true", help="machine-readable output, and nothing else, on stdout")
        command.set_defaults(command=function)
        return command

    _add_listing(add)
    _add_computing(add)
    _add_reading(add)
    _add_score(add("score", scoring.score_command, "Score images or folders with a run, or with a bundle."))
    _add_serve(add("serve", serving.serve_command, "Score images over HTTP: POST /score, on this machine alone."))
    _add_corrections(add)
    _add_handing_on(add)
    _add_bench(add("bench", bench.bench_command, "Run a grid: data sets, classes, recipes and seeds in one table."))
    return root


def _add_listing(add: Add) -> None:
    """Add the commands that say what there is."""
    doctor = add("doctor", listing.doctor, "Check the installation and the data root, and say what works.")
    add_data_root(doctor)
    doctor.add_argument("--load", action="store_true", help="import each package as well, and name the device")
    datasets = add("datasets", data.datasets_command, "List the data sets, fetch one, or check one.")
    _add_data(datasets)
    add_data_root(datasets)
    add("backbones", listing.backbones, "List the pretrained networks.")
    add("recipes", listing.recipes, "List the ways to adapt, to map and to generalise, with their options.")
    add("scorers", listing.scorers, "List the ways to score features, with their options.")


def _add_computing(add: Add) -> None:
    """Add the commands that compute a run."""
    run = add("run", running.compute_command, "Adapt to one normal class and record the curves.")
    add_config_flags(run, HELP)
    segment = add("segment", running.compute_command, "Compare patches with normal ones and map where defects are.")
    add_config_flags(segment, SEGMENT_HELP)
    segment.set_defaults(recipe="patchcore", kind="segment")
    generalize = add("generalize", running.compute_command, "Train on some classes, test on a new one.")
    add_config_flags(generalize, GENERALIZE_HELP)
    generalize.add_argument("--roi", default="", help=argparse.SUPPRESS)  # refused, with the reason
    generalize.set_defaults(recipe="resad", kind="few-shot")
    for command in (segment, generalize):
        _add_maps(command)
    resume = add("resume", running.resume_command, "Continue a run from its last checkpoint.")
    add_run(resume)
    resume.add_argument("--queue", action="store_true", help="wait until no other run of the folder computes")


def _add_reading(add: Add) -> None:
    """Add the commands that look at runs."""
    add_runs_dir(add("list", running.list_command, "List the runs of a folder, newest first."))
    add_run(add("show", running.show_command, "Summarise a run: settings, curve, result."))
    add_run(add("verify", running.verify_command, "Compute a finished run's scores again and say equal or not."))


def _add_score(command: argparse.ArgumentParser) -> None:
    _add_detector(command)
    command.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
    command.add_argument("--csv", action="store_true", help="comma-separated values on stdout")
    command.add_argument("--report", metavar="FILE.html", help="write counts and rejects, with maps, as one HTML file")
    command.add_argument(
        "--watch",
        action="store_true",
        help="PATH is a folder: judge each image that comes, to any depth, until Ctrl-C; a line of JSON each, or --csv",
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        help="with --watch: add the lines to this file; after a restart, what it holds is not judged again",
    )
    _add_maps(command)


def _add_corrections(add: Add) -> None:
    """Add the commands that correct a run."""
    accept = add("accept", correcting.correct_command, "Take images for normal: a run on a folder is learned again.")
    reject = add("reject", correcting.correct_command, "Take images for anomalies, that measure and are not learned.")
    for command, accepts in ((accept, True), (reject, False)):
        add_run(command)
        command.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
        command.set_defaults(accept=accepts)
    accept.add_argument(
        "--undo", action=_InPlaceOfPaths, nargs=0, help="instead of PATH: take the last correction back"
    )


class _InPlaceOfPaths(argparse.Action):
    """A flag with which no PATH is needed."""

    def __call__(self, parser: argparse.ArgumentParser, parsed: argparse.Namespace, *_: object) -> None:
        setattr(parsed, self.dest, True)
        for action in parser._actions:
            action.required = action.required and action.dest != "paths"


def _add_serve(command: argparse.ArgumentParser) -> None:
    _add_detector(command)
    host, port = serving.HOST, serving.PORT
    command.add_argument("--host", default=host, metavar="ADDRESS", help=f"where it listens ({host}: this machine)")
    command.add_argument("--port", type=typed(int), default=port, metavar="N", help=f"0 for any that is free ({port})")


def _add_detector(command: argparse.ArgumentParser) -> None:
    """Add the run or bundle whose detector judges, and how."""
    add_run(command, "path of a run folder or of a bundle (a folder or a .zip), or the id of a run below --runs-dir")
    command.add_argument(
        "--references",
        action="append",
        metavar="PATH",
        help="normal images of a new class, files or folders, for a run of `generalize`",
    )
    command.add_argument(
        "--false-alarm-rate", type=float, default=RATE, metavar="X", help=f"of normal images, for the verdict ({RATE})"
    )


def _add_maps(command: argparse.ArgumentParser) -> None:
    command.add_argument("--maps", metavar="OUT", help="write PNG and NPY of each map: a new folder, or a .zip")


def _add_handing_on(add: Add) -> None:
    """Add the commands that write a run for others."""
    report = add("report", reporting.report_command, "Write a run as one HTML file that opens anywhere.")
    add_run(report)
    report.add_argument("-o", "--output", required=True, metavar="FILE.html", help="the file to write")
    export = add("export", exporting.export_command, "Write a run's detector for use elsewhere, checked.")
    add_run(export)
    export.add_argument("out", metavar="OUT", help="the file; for a bundle a new folder, or a .zip")
    export.add_argument(
        "--format",
        choices=tuple(exporting.SUFFIXES),
        default="onnx",
        help="onnx, torchscript: one graph from pixels to score and map; bundle: safetensors and JSON (default: onnx)",
    )


def _add_data(command: argparse.ArgumentParser) -> None:
    either = command.add_mutually_exclusive_group()
    either.add_argument("--download", metavar="KEY", help="fetch this data set into the data root")
    either.add_argument(
        "--check",
        metavar="KEY",
        help="look for duplicates, broken files and giveaways; exit 1 if figures are worthless",
    )
    command.add_argument("--normal-class", metavar="CLASS", help=f"for --check: {HELP['normal_class']}")
    command.add_argument("--seed", type=typed(int), default=0, metavar="SEED", help="for --check: of the split (0)")
    for name in ("train_limit", "test_limit"):
        command.add_argument(flag(name), type=typed(int), metavar=name.upper(), help=f"for --check: {HELP[name]}")
    command.add_argument("--roi", metavar="FILE", help=f"for --check: {HELP['roi']}")


def _add_bench(command: argparse.ArgumentParser) -> None:
    known = ", ".join(built_in_grids())
    command.add_argument("grid", metavar="GRID", help=f"{known}, or a TOML or YAML file")
    command.add_argument(
        "--jobs", type=typed(int), metavar="N", help="cells at once (default: one a GPU, or a processor, to 8)"
    )
    command.add_argument("--backend", default=BACKENDS[0], help="loky: processes here; dask: a cluster that exists")
    command.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster, for instance tcp://HOST:8786")
    add_runs_dir(command)
    add_data_root(command)
    command.add_argument(
        "--out", metavar="DIR", help="folder of the grid's runs and tables (default: RUNS_DIR/bench/GRID)"
    )
    command.add_argument("--device", default="auto", help=HELP["device"])
    command.add_argument(
        "--backbone", metavar="KEY", help="network of all rows with a pretrained one (see `backbones`), or timm:NAME"
    )
    command.add_argument(
        "--plan",
        "--dry-run",
        action="store_true",
        help="say what would be run, how long it takes, how much disk it needs and what is missing; compute nothing",
    )
