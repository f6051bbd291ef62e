"""Published figures, read from `published.toml`, where each stands with its source."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from panda_core.bench.grid import METRIC
from panda_core.errors import UsageError, unknown_name

FILE = Path(__file__).parent / "published.toml"


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures of one method from one source, as shares in [0, 1].

    values: data set -> average over all its normal classes. classes: data set -> normal class -> figure.
    """

    key: str
    method: str
    source: str
    metric: str
    values: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Published:
    """What a table shows beside a measured mean. comparable: whether it is of the same normal classes."""

    value: float
    source: str
    comparable: bool


@functools.cache
def published_figures() -> tuple[Figures, ...]:
    """Return all entries of the file."""
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))["figures"]
    return tuple(
        Figures(
            key=entry["key"],
            method=entry["method"],
            source=entry["source"],
            metric=entry.get("metric", METRIC),
            values=MappingProxyType(_shares(entry.get("values", {}))),
            classes=MappingProxyType({name: _shares(table) for name, table in entry.get("classes", {}).items()}),
        )
        for entry in entries
    )


def _shares(table: Mapping[str, float]) -> dict[str, float]:
    return {name: value / 100 for name, value in table.items()}


def check_key(key: str) -> None:
    """Raise `UsageError` for a key that no published figure has."""
    known = {figures.key for figures in published_figures()}
    if key and key not in known:
        raise UsageError(str(unknown_name("published figure", key, sorted(known), "published")))


def published_for(key: str, metric: str, dataset: str, classes: Sequence[str], *, whole: bool) -> Published | None:
    """Return the figure to put beside a mean over `classes` of a data set, or None where nobody published one.

    whole: whether these are all classes that the paper averages. The published average stands beside a mean over
    fewer classes only where the figures of just these are not published, and then it is not comparable.
    """
    published = [figures for figures in published_figures() if figures.key == key and figures.metric == metric]
    averages = [(figures.values[dataset], figures.source) for figures in published if dataset in figures.values]
    if averages and whole:
        return Published(*averages[0], comparable=True)
    for figures in published:
        single = figures.classes.get(dataset, {})
        if classes and all(name in single for name in classes):
            return Published(sum(single[name] for name in classes) / len(classes), figures.source, comparable=True)
    return Published(*averages[0], comparable=False) if averages else None


def published_class(key: str, metric: str, dataset: str, normal_class: str) -> Published | None:
    """Return the published figure of one normal class, or None."""
    published = published_for(key, metric, dataset, [normal_class], whole=False)
    return published if published is not None and published.comparable else None
