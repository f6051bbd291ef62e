"""What a few-shot run learned, read back, with its own references or with others of any class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from panda_core.errors import BrokenRun
from panda_core.few_shot.model import ResidualModel
from panda_core.few_shot.residuals import References
from panda_core.few_shot.scorer import ReferenceScorer
from panda_core.runs.few_shot.settings import levels_used
from panda_core.runs.segment.opened import Patchwise
from panda_core.runs.settings import check_weights, choose_device, load_network
from panda_core.runs.tensors import REFERENCES, read_tensors

if TYPE_CHECKING:
    from panda_core.runs.reading import RecordedRun


def open_few_shot(run: RecordedRun, references: Sequence[np.ndarray] | None = None) -> Patchwise:
    """Return a run's model with references: decoded normal images of any class (H, W, 3), else the run's own.

    Its held-out scores are those of normal images of the classes it was trained on, beside references of their own.
    """
    if not run.segmented:
        raise BrokenRun(f"Run `{run.run_id}` is not trained yet. Wait for it to end, or resume it.")
    device = choose_device(run.config.device)
    config, network = load_network(run.config, device)
    check_weights(run.folder, network)
    levels = levels_used(config, network.stages, network.levels, network.cut)
    model = ResidualModel(config, network, levels, device)
    file = run.folder.checkpoint(run.segmented[-1].step)
    tensors = read_tensors(file)
    own = [tensors.pop(f"{REFERENCES}{level}", None) for level in range(len(levels))]
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
        if len(features) != len(levels):
            raise BrokenRun(f"`{file}` holds no references. The run must be computed again.")
    return Patchwise(ReferenceScorer(model, References(features), config.set), run.calibration)
