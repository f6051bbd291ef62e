"""`datasets`: list the data sets, fetch one, or check one for what would spoil a measurement."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panda_core.cli import listing
from panda_core.cli.output import print_json, print_table, print_text
from panda_core.config import flag
from panda_core.datasets import OneClassTask, find_class, find_dataset, one_class_task
from panda_core.datasets.finding import PROBLEM
from panda_core.datasets.health import Health
from panda_core.datasets.io.downloads import download
from panda_core.datasets.io.regions import read_region, task_within
from panda_core.errors import DataMissing, UsageError
from panda_core.events import CacheProgress, Event, result_of


def datasets_command(parsed: argparse.Namespace) -> int:
    """Do what the flags ask for; without any, list the data sets."""
    if parsed.download is not None:
        return _download(parsed)
    if parsed.check is not None:
        return _check(parsed)
    return listing.datasets(parsed)


def _download(parsed: argparse.Namespace) -> int:
    dataset, root = find_dataset(parsed.download), Path(parsed.data_root)
    was_here = dataset.missing(root) is None
    download(dataset, root)
    if parsed.json:
        print_json({"key": dataset.key, "data_root": str(root), "was_here": was_here, "licence": dataset.licence})
    else:
        print_text(f"{dataset.title} {'was here already' if was_here else 'is here now'}. Licence: {dataset.licence}.")
    return 0


def _check(parsed: argparse.Namespace) -> int:
    """Check the task of one normal class; exit 1 if something makes its figures worthless."""
    dataset, root = find_dataset(parsed.check), Path(parsed.data_root)
    missing = dataset.missing(root)
    if missing is not None:
        raise DataMissing(missing)
    for field, lowest in (("train_limit", 1), ("test_limit", 1), ("seed", 0)):
        value = getattr(parsed, field)
        if value is not None and value < lowest:
            raise UsageError(f"`{flag(field)}` must be at least {lowest}; got {value}.")
    name = find_class(dataset, root, parsed.normal_class)
    splits = dataset.open(root, name, parsed.seed)
    task = one_class_task(splits, train_limit=parsed.train_limit, test_limit=parsed.test_limit, seed=parsed.seed)
    if parsed.roi:
        task = task_within(task, read_region(parsed.roi))
    health = _watched(task, parsed.seed)
    if parsed.json:
        about = {"dataset": dataset.key, "normal_class": name, "seed": parsed.seed, "roi": parsed.roi or ""}
        print_json({**about, **dataclasses.asdict(health)})
    elif not health.findings:
        print_text(f"{dataset.title}, {name}: nothing wrong in {health.train} training and {health.test} test images.")
    else:
        rows = [
            [finding.level, finding.told, "\n".join("  =  ".join(names) for names in finding.examples[:3])]
            for finding in health.findings
        ]
        title = f"{dataset.title}, {name}: {health.train} training and {health.test} test images"
        print_table(title, ("", "what", "for instance"), rows)
    return 1 if health.level == PROBLEM else 0


def _watched(task: OneClassTask, seed: int) -> Health:
    """Check a task while drawing the progress on the standard error stream."""
    from panda_core.features.doubtful import check_all  # loads torch, which the list of data sets does not need

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        looking = bar.add_task("Looking at images", total=len(task.train) + len(task.test))

        def show(event: Event) -> None:
            if isinstance(event, CacheProgress):
                what = "Looking at images" if event.split == "health" else "Comparing normal images"
                bar.update(looking, description=what, completed=event.done, total=event.total)

        return result_of(check_all(task, seed), show)
