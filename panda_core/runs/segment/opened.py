"""What a segmentation run learned, read back: banks of normal patches and the network they belong to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from panda_core.errors import BrokenRun
from panda_core.few_shot.scorer import ReferenceScorer
from panda_core.runs.calibration import Calibration
from panda_core.runs.segment.settings import compared_levels, tail_file
from panda_core.runs.settings import check_weights, choose_device, load_network
from panda_core.runs.tensors import read_tail, read_tensors
from panda_core.segmentation.model import PatchModel
from panda_core.segmentation.results import PatchResult
from panda_core.segmentation.tiles import TileGrid

if TYPE_CHECKING:
    from panda_core.runs.reading import RecordedRun


@dataclasses.dataclass(frozen=True)
class Patchwise:
    """A fitted model, and what calibrating normal images say of its scores and maps."""

    model: PatchModel | ReferenceScorer
    calibration: Calibration

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the scores (B,) of decoded images."""
        return self.segment(images).scores

    def segment(self, images: list[np.ndarray]) -> PatchResult:
        """Return what the model makes of decoded images."""
        return self.model.predict_maps(images)

    @property
    def tiles(self) -> TileGrid | None:
        """How photos are cut; None where each image is looked at whole."""
        return self.model.tiles if isinstance(self.model, PatchModel) else None


def open_patches(run: RecordedRun) -> Patchwise:
    """Return what a segmentation run learned at its last step; `BrokenRun` where it has not got there."""
    if not run.segmented:
        raise BrokenRun(f"Run `{run.run_id}` has no maps yet. Wait for it to end, or resume it.")
    step, device = run.segmented[-1].step, choose_device(run.config.device)
    config, network = load_network(run.config, device)
    check_weights(run.folder, network)
    tail = tail_file(config, step)
    if tail is not None:
        network.tail.load_state_dict(read_tail(tail, network), strict=False)
    model = PatchModel(config, network, compared_levels(config, network), device)
    file = run.folder.bank(step)
    try:
        model.load(read_tensors(file))
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise BrokenRun(f"`{file}` does not fit this run: {error}. The run must be computed again.") from error
    return Patchwise(model, run.calibration)
