"""What a run folder says, read: settings, results, arrays. Light: neither torch nor the data set is needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, overload

import numpy as np

from panda_core.config import RunConfig
from panda_core.errors import BrokenRun
from panda_core.events import MASKS, DataNoted, Evaluated, Event, ImagesSkipped, RunFinished, SegmentationEvaluated
from panda_core.region import Region
from panda_core.runs.arrays import AdaptArrays, FinalArrays, MapArrays, PatchArrays, RunSplit, StepArrays
from panda_core.runs.calibration import Calibration, calibration_of
from panda_core.runs.folder import RunFolder, State
from panda_core.runs.kinds import Kind, kind_of
from panda_core.runs.settings import region_of
from panda_core.segmentation.geometry import network_side, side_note


class RecordedRun:
    """What a run folder says, whatever the state of the run."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def run_id(self) -> str:
        return self.folder.run_id

    @cached_property
    def config(self) -> RunConfig:
        return self.folder.config()

    @cached_property
    def region(self) -> Region | None:
        """What of its images counts; None: all of them. An exception says where the run's copy of it is damaged."""
        return region_of(self.config)

    def state(self) -> State:
        return self.folder.state()

    def check_keeps_detector(self) -> None:
        """Raise `BrokenRun` for a finished run without what scores new images, as those are that come along."""
        if self.state().state != "finished" or self.folder.keeps_detector():
            return
        here = RunConfig()
        again = self.config.replace(data_root=here.data_root, runs_dir=here.runs_dir)
        raise BrokenRun(
            f"Run `{self.run_id}` keeps what was measured and no detector, as a recording does. Compute it anew with "
            f"`{again.to_command()}`."
        )

    def events(self) -> list[Event]:
        return [event for event, _ in self.folder.events()]

    @cached_property
    def _logged(self) -> list[Event]:
        """The log as it was when it was first looked at: read once, however much is asked of it."""
        return self.events()

    @cached_property
    def evaluated(self) -> list[Evaluated]:
        """The points of the curves so far, step 0 first."""
        return [event for event in self._logged if isinstance(event, Evaluated)]

    @cached_property
    def kind(self) -> Kind:
        """What the run does: it adapts a network, compares patches, or learns from other classes."""
        return kind_of(self.config)

    @property
    def has_maps(self) -> bool:
        """Whether the run gives a map for each image."""
        return self.kind.has_maps

    @cached_property
    def segmented(self) -> list[SegmentationEvaluated]:
        """The results of a segmentation run so far: one for each checkpoint whose network was used."""
        return [event for event in self._logged if isinstance(event, SegmentationEvaluated)]

    @property
    def results(self) -> Sequence[Evaluated | SegmentationEvaluated]:
        """What was measured so far, of whichever kind the run is."""
        return self.segmented if self.has_maps else self.evaluated

    @cached_property
    def metrics(self) -> dict[str, Any] | None:
        """The final metrics, or None while there are none."""
        return next((event.metrics for event in self._logged if isinstance(event, RunFinished)), None)

    @cached_property
    def calibration(self) -> Calibration:
        """Threshold, verdict, percentile and expected false alarms of the run, the same wherever they are asked for."""
        return calibration_of(self)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What the result depends on besides the config; empty before the first evaluation."""
        return dict(self.folder.read(self.folder.environment_file.name) or {})

    @cached_property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of what takes no part: unreadable images, copies, masks not used, formats not read."""
        skips = [event for event in self._logged if isinstance(event, ImagesSkipped)]
        return [pair for event in skips for pair in zip(event.names, event.reasons, strict=True)]

    @cached_property
    def unused_masks(self) -> list[tuple[str, str]]:
        """(name, reason) of the masks that are not used, which `skipped` lists among others."""
        skips = [event for event in self._logged if isinstance(event, ImagesSkipped) and event.split == MASKS]
        return [pair for event in skips for pair in zip(event.names, event.reasons, strict=True)]

    @cached_property
    def notes(self) -> list[str]:
        """What was said of the data before the run began, and what has changed for it since, a sentence each."""
        told = [event.told for event in self._logged if isinstance(event, DataNoted)]
        size = int(self.config.image_size or 0)
        if self.kind.key == "few-shot" and side_note(size) not in (None, *told):
            told.append(
                f"This run learned at {size} px, before sizes were rounded; new images are compared at "
                f"{network_side(size)} px, so that their scores differ a little from the recorded ones. Run it again."
            )
        return told

    @cached_property
    def split(self) -> RunSplit:
        """Which images take part, in the order of the arrays."""
        split = self.folder.split()
        if split is None:
            raise BrokenRun(f"Run `{self.run_id}` has not listed its images yet. Wait for its first evaluation.")
        return split

    @overload
    def arrays(self, step: int) -> StepArrays: ...

    @overload
    def arrays(self, step: Literal["final"]) -> FinalArrays: ...

    def arrays(self, step: int | Literal["final"]) -> StepArrays | FinalArrays:
        """Return what was measured at a step, whatever the kind of the run, or the scores that count: "final"."""
        return self.final() if isinstance(step, str) else self.folder.arrays(step)

    def adapt_arrays(self, step: int) -> AdaptArrays:
        """Return what an adaptation measured at a step."""
        return self.folder.adapt_arrays(step)

    def patch_arrays(self, step: int) -> PatchArrays:
        """Return what a run with maps measured at a step."""
        return self.folder.patch_arrays(step)

    def final(self) -> FinalArrays:
        """Return the scores that count, of a run that is finished."""
        return self.folder.final()

    def scores_at(self, step: int | str) -> np.ndarray:
        """Return the scores (M,) of the test images at a step, or of `FINAL`."""
        return self.final().scores if isinstance(step, str) else self.arrays(step).scores

    def maps(self, step: int) -> MapArrays:
        """Return the maps of a step."""
        return self.folder.maps(step)
