"""What a grid has measured so far: means over classes and seeds with intervals, beside the published figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import METRIC
from panda_core.bench.published import Published, published_class, published_for
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

_Z = 1.959964  # half-width of a 95 % interval, in standard errors


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One cell. value, low, high: shares, None while there is none. published: of this class alone."""

    cell: str
    normal_class: str
    seed: int
    state: str
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    published: float | None = None


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which conditions a line was measured, in words; "mixed" settings are listed."""

    recipe: str
    scorer: str
    form: str
    backbone: str
    image_size: str
    feature_norm: str
    train_limit: str
    test_limit: str
    steps: str
    seeds: str


@dataclasses.dataclass(frozen=True)
class Result:
    """A line of the table; numbers are shares in [0, 1]. difference: mean minus published, where they compare.

    low, high: 95 % interval of the mean, see `mean_interval`. published: with its source, whether comparable or not.
    """

    name: str
    dataset: str
    metric: str
    classes: tuple[str, ...]
    mean: float | None
    low: float | None
    high: float | None
    published: float | None
    difference: float | None
    source: str
    comparable: bool
    finished: int
    total: int
    conditions: Conditions
    outcomes: tuple[Outcome, ...]
    problem: str

    @property
    def label(self) -> str:
        """The name, and what is measured unless that is the AUROC of an image's score."""
        return self.name if self.metric == METRIC else f"{self.name}, {self.metric.replace('_', ' ')}"


@dataclasses.dataclass(frozen=True)
class Results:
    """All of a grid's table. machines: what it was computed on."""

    name: str
    title: str
    about: str
    lines: tuple[Result, ...]
    machines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> Results:
        """Return the results in a JSON object; one of another version raises `PandaError`."""
        try:
            lines = tuple(
                Result(
                    **{
                        **line,
                        "classes": tuple(line["classes"]),
                        "conditions": Conditions(**line["conditions"]),
                        "outcomes": tuple(Outcome(**outcome) for outcome in line["outcomes"]),
                    }
                )
                for line in record["lines"]
            )
            head = {key: str(record[key]) for key in ("name", "title", "about")}
            return Results(**head, lines=lines, machines=tuple(record["machines"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise PandaError(f"These results are of another version ({error}). Run the grid again.") from error


def mean_interval(outcomes: Sequence[Outcome]) -> tuple[float | None, float | None, float | None]:
    """Return the mean over classes of the mean over seeds, and its 95 % interval, of the cells that have a value.

    The variance of the mean over C classes is the sum of two parts over C^2. Of the test images: each class's squared
    standard error, from the width of its runs' own intervals, averaged over seeds and not divided by their number,
    because seeds share most test images. Of the seeds: the variance between a class's seeds, divided by their number.
    With one seed the second part is unknown and left out. The classes are all that there are, not a sample.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.value is not None:
            groups.setdefault(outcome.normal_class, []).append(outcome)
    if not groups:
        return None, None, None
    means, variance, known = [], 0.0, False
    for group in groups.values():
        values = [outcome.value for outcome in group if outcome.value is not None]
        means.append(sum(values) / len(values))
        errors = [
            ((outcome.high - outcome.low) / (2 * _Z)) ** 2
            for outcome in group
            if outcome.low is not None and outcome.high is not None
        ]
        if errors:
            variance, known = variance + sum(errors) / len(errors), True
        if len(values) > 1:
            spread = sum((value - means[-1]) ** 2 for value in values) / (len(values) - 1)
            variance, known = variance + spread / len(values), True
    mean = sum(means) / len(means)
    if not known:
        return mean, None, None
    half = _Z * math.sqrt(variance) / len(means)
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)


class Reader:
    """Reads results from a grid's folder; what is finished does not change and is read once."""

    def __init__(self, folder: GridFolder) -> None:
        self.folder = folder
        self._finished: dict[str, _Run] = {}

    def results(self) -> Results:
        """Return the table as it is now."""
        plan = self.folder.plan()
        lines = tuple(self._line(line, plan["cells"]) for line in plan["lines"])
        machines = dict.fromkeys(run.machine for run in self._finished.values())
        return Results(self.folder.name, str(plan["title"]), str(plan.get("about", "")), lines, tuple(machines))

    def _line(self, line: Mapping[str, Any], cells: Mapping[str, Any]) -> Result:
        outcomes = tuple(self._outcome(cell_id, cells[cell_id], line) for cell_id in line["cells"])
        configs = [cells[cell_id]["config"] for cell_id in line["cells"]]
        mean, low, high = mean_interval(outcomes)
        classes = tuple(line["classes"])
        published: Published | None = None
        if not line["problem"]:
            key, metric, dataset = line["published"], line["metric"], line["dataset"]
            published = published_for(key, metric, dataset, classes, whole=line["whole"]) if key else None
        complete = bool(outcomes) and all(outcome.value is not None for outcome in outcomes)
        comparable = published is not None and published.comparable and complete
        forms = [self._finished[outcome.cell].form for outcome in outcomes if outcome.cell in self._finished]
        return Result(
            name=line["name"],
            dataset=line["dataset"],
            metric=line["metric"],
            classes=classes,
            mean=mean,
            low=low,
            high=high,
            published=None if published is None else published.value,
            difference=mean - published.value if comparable and published and mean is not None else None,
            source="" if published is None else published.source,
            comparable=comparable,
            finished=sum(outcome.state == "finished" for outcome in outcomes),
            total=len(outcomes),
            conditions=_conditions(configs, forms),
            outcomes=outcomes,
            problem=line["problem"]
            or next((cells[one]["problem"] for one in line["cells"] if cells[one]["problem"]), ""),
        )

    def _outcome(self, cell_id: str, cell: Mapping[str, Any], line: Mapping[str, Any]) -> Outcome:
        config = cell["config"]
        normal_class = str(config["normal_class"])
        beside = published_class(line["published"], line["metric"], line["dataset"], normal_class)
        outcome = Outcome(
            cell=cell_id,
            normal_class=normal_class,
            seed=int(config["seed"]),
            state="missing" if cell["missing"] else "failed" if cell["problem"] else "waiting",
            reason=cell["problem"],
            published=None if beside is None else beside.value,
        )
        if cell["problem"]:
            return outcome
        run = self.folder.run(cell_id)
        if cell_id not in self._finished:
            if not run.is_run():
                return outcome
            state = run.state()
            if state.state != "finished":
                return dataclasses.replace(outcome, state=state.state, reason=state.reason)
            try:
                self._finished[cell_id] = _Run.read(LoadedRun(run))
            except PandaError as error:
                return dataclasses.replace(outcome, state="failed", reason=str(error))
        read, metric = self._finished[cell_id], line["metric"]
        value = read.metrics.get(metric)
        if not isinstance(value, (int, float)):
            known = ", ".join(sorted(key for key, one in read.metrics.items() if isinstance(one, float)))
            reason = f"This run has no `{metric}`; it has {known or 'none'}."
            return dataclasses.replace(outcome, state="finished", reason=reason)
        return dataclasses.replace(
            outcome,
            state="finished",
            value=float(value),
            low=read.metrics.get(f"{metric}_low"),
            high=read.metrics.get(f"{metric}_high"),
            seconds=read.seconds,
        )


@dataclasses.dataclass(frozen=True)
class _Run:
    """What the table needs of a finished run."""

    metrics: Mapping[str, Any]
    seconds: float
    form: str
    machine: str

    @staticmethod
    def read(run: LoadedRun) -> _Run:
        if run.metrics is None:
            raise PandaError(
                f"Run `{run.run_id}` is finished but its log has no result. Delete it, run the grid again."
            )
        split, found = run.split, run.environment
        packages = found.get("packages") or {}
        machine = (
            f"{found.get('device', 'unknown device')}, {found.get('threads', '?')} of {found.get('processors', '?')} "
            f"processors a run, torch {packages.get('torch', '?')}, {found.get('platform', 'unknown system')}"
        )
        form = data_form(split.train, split.test)
        return _Run(run.metrics, float(run.events()[-1].seconds), form, machine)  # type: ignore[attr-defined]


def data_form(train: Sequence[str], test: Sequence[str]) -> str:
    """Return in which form images were read, judged by their names, and how many: "jpg files, 5000 + 10000 images".

    A data set that is published as an array of pixels may also be here as files, which somebody has encoded anew.
    """
    kinds = sorted({PurePath(name).suffix.lower().lstrip(".") for name in (*train, *test)})
    words = " and ".join(f"{kind} files" if kind.isalnum() and not kind.isdigit() else "pixel arrays" for kind in kinds)
    return f"{words}, {len(train)} + {len(test)} images"


def _conditions(configs: Sequence[Mapping[str, Any]], forms: Iterable[str]) -> Conditions:
    def listed(key: str, none: str) -> str:
        values = dict.fromkeys(none if config.get(key) is None else str(config[key]) for config in configs)
        return ", ".join(values)

    return Conditions(
        recipe=listed("recipe", ""),
        scorer=listed("scorer", ""),
        form="; ".join(dict.fromkeys(forms)),
        backbone=listed("backbone", ""),
        image_size=listed("image_size", "default"),
        feature_norm=listed("feature_norm", "default"),
        train_limit=listed("train_limit", "none"),
        test_limit=listed("test_limit", "none"),
        steps=listed("steps", "none"),
        seeds=listed("seed", ""),
    )
