"""What a run that generalises learned, read back, with its own references or with others of any class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from panda_core.backbones import find_backbone
from panda_core.errors import BrokenRun, UsageError
from panda_core.few_shot.judging import Judge
from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.residuals import References
from panda_core.few_shot.table import is_generalisation
from panda_core.runs.few_shot.settings import levels_used
from panda_core.runs.plan import choose_device
from panda_core.runs.segment.opened import Patchwise
from panda_core.runs.tensors import read_tensors

if TYPE_CHECKING:
    from panda_core.runs.loaded import LoadedRun

BESIDE = "references."  # begins the names of the references' features in a checkpoint


def judge_of_run(loaded: LoadedRun, references: Sequence[np.ndarray] | None = None) -> Patchwise:
    """Return a run's model with references: decoded normal images of any class (H, W, 3), else the run's own.

    Its held-out scores are those of normal images of the classes it was trained on, beside references of their own.
    """
    if not is_generalisation(loaded.config):
        raise UsageError(
            f"Run `{loaded.run_id}` is of recipe `{loaded.config.recipe}`, which knows one class. "
            "Train one for new classes with `python -m panda_core generalize`."
        )
    if not loaded.segmented:
        raise BrokenRun(f"Run `{loaded.run_id}` is not trained yet. Wait for it to end, or resume it.")
    config, step = loaded.config, loaded.segmented[-1].step
    device = choose_device(config.device)
    network = find_backbone(str(config.backbone)).load(str(config.set["cut"])).to(device)
    levels = levels_used(config, network.stages, network.levels, network.cut)
    model = ResidualModel(config, network, levels, device)
    file = loaded.folder.path / "checkpoints" / f"{step:06d}.safetensors"
    tensors = read_tensors(file)
    own = [tensors.pop(f"{BESIDE}{level}", None) for level in range(len(levels))]
    try:
        model.load(tensors)
        if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
            raise ValueError("it holds a number that is not finite")
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise BrokenRun(f"`{file}` does not fit this run: {error}. The run must be computed again.") from error
    if references is not None:
        features = model.features(references) if len(references) else []
    else:
        features = [part.to(device) for part in own if part is not None]
    if references is None and len(features) != len(levels):
        raise BrokenRun(f"`{file}` holds no references. The run must be computed again.")
    judge = Judge(model, References(features), config.set)
    return Patchwise(judge, loaded.calibration)
