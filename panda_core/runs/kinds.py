"""What a run does: it adapts a network, compares patches, or learns from other classes. One row of `KINDS` each.

Everything that depends on it asks `kind_of(config)`. Light: what computes is imported where it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from panda_core.config import Option, RunConfig
from panda_core.datasets import OneClassTask
from panda_core.errors import BrokenRun, UsageError, unknown_name
from panda_core.events import Event
from panda_core.few_shot.table import GENERALISERS, Generaliser
from panda_core.methods.table import RECIPES, Recipe
from panda_core.runs.adapt import settings as adapt_settings
from panda_core.runs.calibration import Calibration
from panda_core.runs.data import check_unchanged
from panda_core.runs.few_shot import data as few_shot_data
from panda_core.runs.few_shot import settings as few_shot_settings
from panda_core.runs.folder import RunFolder
from panda_core.runs.saving import Saved
from panda_core.runs.segment import settings as segment_settings
from panda_core.runs.settings import Plan, check_others, check_weights, with_absolute_paths
from panda_core.segmentation.table import SEGMENTERS, Segmenter

if TYPE_CHECKING:
    import numpy as np

    from panda_core.runs.adapt.saved import Resumed
    from panda_core.runs.arrays import FinalArrays
    from panda_core.runs.reading import RecordedRun

# What a loop yields: events, files to be written before the event that refers to them, None between two batches.
Computation = Generator[Event | Saved | None, None, None]


class Learned(Protocol):
    """What a run learned, ready to score images."""

    @property
    def calibration(self) -> Calibration:
        """What normal images that were not learned from say of others."""

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the scores (B,) of decoded images."""


def _knows_one_class(run: RecordedRun, references: Sequence[np.ndarray]) -> Learned:
    raise UsageError(
        f"Run `{run.run_id}` is of recipe `{run.config.recipe}`, which knows one class. "
        "Train one for new classes with `python -m panda_core generalize`."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A row of `KINDS`.

    key: how other code names it.
    command: the command that starts such a run.
    called: what its recipes are called in an error.
    recipes: key -> row, of the recipes that are run so.
    has_maps: whether it gives a map for each image, and its results are `SegmentationEvaluated`, not `Evaluated`.
    resolve: a config -> the same with every default written out; `UsageError` or `DataMissing` for what cannot be.
    options: a config -> the `--set` options that it understands.
    open_task: a resolved config -> its images.
    prepare: a config, and a task in place of its dataset -> the plan: data opened, network loaded.
    resumed: a folder and a plan -> where the run goes on, the log cut after that point; None: from the beginning.
    compute: a plan, and where it goes on -> the loop that computes it.
    open: what a run recorded -> what it learned, ready to score images.
    open_with: the same for the class of some decoded normal images; `UsageError` where a run knows one class.
    recompute: what a finished run recorded -> its final scores, computed anew.
    """

    key: str
    command: str
    called: str
    recipes: Mapping[str, Recipe | Segmenter | Generaliser]
    has_maps: bool
    resolve: Callable[[RunConfig], RunConfig]
    options: Callable[[RunConfig], dict[str, Option]]
    open_task: Callable[[RunConfig], OneClassTask]
    prepare: Callable[[RunConfig, OneClassTask | None], Plan]
    resumed: Callable[[RunFolder, Any], Resumed | None] = lambda folder, plan: None
    compute: Callable[[Any, Resumed | None], Computation]
    open: Callable[[RecordedRun], Learned]
    open_with: Callable[[RecordedRun, Sequence[np.ndarray]], Learned] = _knows_one_class
    recompute: Callable[[RecordedRun], FinalArrays]


def _resume_adapting(folder: RunFolder, plan: adapt_settings.AdaptPlan) -> Resumed | None:
    from panda_core.runs.adapt.saved import last_checkpoint

    return last_checkpoint(folder, plan)


def _adapt(plan: adapt_settings.AdaptPlan, resumed: Resumed | None) -> Computation:
    from panda_core.runs.adapt.loop import adapt

    return adapt(plan, resumed)


def _open_adapted(run: RecordedRun) -> Learned:
    from panda_core.runs.adapt.opened import open_adapted

    return open_adapted(run)


def _readapt(run: RecordedRun) -> FinalArrays:
    from panda_core.runs.adapt.loop import recompute

    return recompute(run)


def _segment(plan: segment_settings.SegmentPlan, resumed: Resumed | None) -> Computation:
    from panda_core.runs.segment.loop import segment

    return segment(plan)


def _open_patches(run: RecordedRun) -> Learned:
    from panda_core.runs.segment.opened import open_patches

    return open_patches(run)


def _few_shot(plan: few_shot_data.FewShotPlan, resumed: Resumed | None) -> Computation:
    from panda_core.runs.few_shot.loop import learn_new_class

    return learn_new_class(plan)


def _open_few_shot(run: RecordedRun) -> Learned:
    from panda_core.runs.few_shot.opened import open_few_shot

    return open_few_shot(run)


def _open_with_references(run: RecordedRun, references: Sequence[np.ndarray]) -> Learned:
    from panda_core.runs.few_shot.opened import open_few_shot

    return open_few_shot(run, references)


def _remap(run: RecordedRun) -> FinalArrays:
    from panda_core.runs.segment.loop import last_scores

    plan = prepare(run.config)
    check_unchanged(run.run_id, run.split, plan.task)
    check_weights(run.folder, plan.network)
    check_others(run.folder, plan)
    return last_scores(kind_of(run.config).compute(plan, None))


KINDS = (
    Kind(
        key="adapt",
        command="run",
        called="recipe",
        recipes=RECIPES,
        has_maps=False,
        resolve=adapt_settings.resolve,
        options=adapt_settings.options_of,
        open_task=adapt_settings.open_task,
        prepare=adapt_settings.prepare,
        resumed=_resume_adapting,
        compute=_adapt,
        open=_open_adapted,
        recompute=_readapt,
    ),
    Kind(
        key="segment",
        command="segment",
        called="segmentation method",
        recipes=SEGMENTERS,
        has_maps=True,
        resolve=segment_settings.resolve,
        options=segment_settings.options_of,
        open_task=segment_settings.open_task,
        prepare=segment_settings.prepare,
        compute=_segment,
        open=_open_patches,
        recompute=_remap,
    ),
    Kind(
        key="few-shot",
        command="generalize",
        called="way to generalise",
        recipes=GENERALISERS,
        has_maps=True,
        open_with=_open_with_references,
        resolve=few_shot_settings.resolve,
        options=few_shot_settings.options_of,
        open_task=few_shot_data.open_task,
        prepare=few_shot_data.prepare,
        compute=_few_shot,
        open=_open_few_shot,
        recompute=_remap,
    ),
)


def kind_of(config: RunConfig) -> Kind:
    """Return what a run of `config` does; `UsageError` for a recipe that does not exist."""
    for kind in KINDS:
        if config.recipe in kind.recipes:
            return kind
    raise unknown_name("recipe", config.recipe, [key for kind in KINDS for key in kind.recipes], "--recipe")


def resolve(config: RunConfig) -> RunConfig:
    """Return `config` with every default written out: see `Kind.resolve`."""
    return kind_of(config).resolve(with_absolute_paths(config))


def options_of(config: RunConfig) -> dict[str, Option]:
    """Return the `--set` options that the config's recipe, scorer and backbone understand, by key."""
    return kind_of(config).options(config)


def open_task(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config."""
    return kind_of(config).open_task(config)


def prepare(config: RunConfig, task: OneClassTask | None = None) -> Plan:
    """Return the plan of `config`: data opened, network loaded, device chosen. `task` replaces the dataset."""
    return kind_of(config).prepare(with_absolute_paths(config), task)


def recompute(run: RecordedRun) -> FinalArrays:
    """Return the final scores of a finished run, computed anew; `BrokenRun` if it is not finished."""
    if run.metrics is None:
        raise BrokenRun(f"Run `{run.run_id}` is not finished. `python -m panda_core resume` continues it.")
    return kind_of(run.config).recompute(run)
