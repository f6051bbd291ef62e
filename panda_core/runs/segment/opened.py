"""What a segmentation run learned, read back: banks of normal patches and the network they belong to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from panda_core.errors import BrokenRun
from panda_core.few_shot.judging import Judge
from panda_core.few_shot.table import is_generalisation
from panda_core.runs.calibration import Calibration
from panda_core.runs.plan import choose_device
from panda_core.runs.segment.settings import levels_of, tail_file
from panda_core.runs.tensors import read_tail, read_tensors
from panda_core.segmentation.maps import highest
from panda_core.segmentation.model import PatchModel, Segmented

if TYPE_CHECKING:
    from panda_core.runs.loaded import LoadedRun


@dataclasses.dataclass(frozen=True)
class Patchwise:
    """A fitted model, and what calibrating normal images say of its scores and maps."""

    model: PatchModel | Judge
    calibration: Calibration

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the scores (B,) of decoded images."""
        return self.segment(images).scores

    def segment(self, images: list[np.ndarray]) -> Segmented:
        """Return what the model says of decoded images."""
        return self.model.look(images)

    def peaks(self, grids: np.ndarray) -> np.ndarray:
        """Return the highest value (B,) of each full map, from grids (B, g, g)."""
        return highest(grids, self.model.image_size, float(self.model.options["sigma"]))


def patchwise(loaded: LoadedRun) -> Patchwise:
    """Return what a segmentation run learned at its last step; `BrokenRun` where it has not got there."""
    from panda_core.backbones import find_backbone

    if is_generalisation(loaded.config):
        from panda_core.runs.few_shot.opened import judge_of_run

        return judge_of_run(loaded)
    if not loaded.segmented:
        raise BrokenRun(f"Run `{loaded.run_id}` has no maps yet. Wait for it to end, or resume it.")
    config, step = loaded.config, loaded.segmented[-1].step
    device = choose_device(config.device)
    network = find_backbone(str(config.backbone)).load(str(config.set["cut"])).to(device)
    tail = tail_file(config, step)
    if tail is not None:
        network.tail.load_state_dict(read_tail(tail, network), strict=False)
    levels = levels_of(config, network.stages, network.levels, network.cut)
    model = PatchModel(config, network, levels, device)
    file = loaded.folder.path / "banks" / f"{step:06d}.safetensors"
    try:
        model.load(read_tensors(file))
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise BrokenRun(f"`{file}` does not fit this run: {error}. The run must be computed again.") from error
    return Patchwise(model, loaded.calibration)
