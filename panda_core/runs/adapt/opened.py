"""What an adaptation learned, read back: the network at the checkpoints of its stop rule, and what scores images."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.backbones.network import Network
from panda_core.errors import BrokenRun
from panda_core.events import result_of
from panda_core.features.background import Background, backgrounds_in
from panda_core.features.joined import JoinedNorm
from panda_core.features.space import space_features
from panda_core.features.trunk import compute_trunk
from panda_core.methods.learner import Learner
from panda_core.methods.options import OWN
from panda_core.methods.stopping import aggregate, used_checkpoints
from panda_core.methods.table import find_recipe
from panda_core.runs.adapt.loop import new_learner
from panda_core.runs.adapt.settings import new_scorer
from panda_core.runs.calibration import Calibration
from panda_core.runs.settings import check_weights, choose_device, load_network
from panda_core.runs.tensors import read_background, read_gallery, read_head, read_space, read_tail
from panda_core.scoring.table import find_scorer

if TYPE_CHECKING:
    from panda_core.runs.reading import RecordedRun


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One adapted tail, what the recipe keeps beside it, and what normal images score on average.

    tail: of this checkpoint alone, so that what was prepared to run its weights serves every batch.
    scorer: fitted to the normal features of this checkpoint, or None where the recipe scores images itself.
    """

    tail: nn.Module
    head: dict[str, Tensor]
    scorer: Any
    normaliser: float


@dataclasses.dataclass(frozen=True)
class Adapted:
    """What an adaptation learns: a network at the checkpoints of its stop rule. dtype: of cached activations."""

    network: Network
    learner: Learner
    norm: JoinedNorm
    checkpoints: tuple[Checkpoint, ...]
    stop: str
    calibration: Calibration
    image_size: int
    dtype: str
    device: torch.device

    def scores(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the scores (B,) of decoded images."""
        activations = compute_trunk(
            images, self.network, image_size=self.image_size, dtype=self.dtype, device=self.device
        )
        history = []
        for checkpoint in self.checkpoints:
            features = result_of(space_features(checkpoint.tail, self.norm, activations, self.device))
            if checkpoint.scorer is None:
                self.network.tail.load_state_dict(checkpoint.tail.state_dict())  # the learner looks through it
                self.learner.keep(**checkpoint.head)
                history.append(result_of(self.learner.scores(activations, features)))
            else:
                history.append(checkpoint.scorer.score(features))
        scores = np.stack(history)  # (T, B)
        return aggregate(self.stop, scores, np.array([checkpoint.normaliser for checkpoint in self.checkpoints])).scores


def open_adapted(run: RecordedRun) -> Adapted:
    """Return what an adaptation learned: of its stop rule where it is finished, else of its last checkpoint."""
    if not run.evaluated:
        raise BrokenRun(f"Run `{run.run_id}` has no checkpoint yet. Wait for its first evaluation, or resume it.")
    stop = find_recipe(run.config.recipe).stop if run.metrics is not None else "last"
    used = used_checkpoints(run.evaluated, stop, run.config.set.get("ses_start"))
    device = choose_device(run.config.device)
    config, network = load_network(run.config, device)
    check_weights(run.folder, network)
    space = read_space(run.folder.space_file, network, str(config.feature_norm))
    norm = JoinedNorm.from_tensors(str(config.feature_norm), network.part_levels, space)
    return Adapted(
        network=network,
        learner=new_learner(config, network, device),
        norm=norm,
        checkpoints=tuple(_checkpoint(run, network, space, norm, event.step) for event in used),
        stop=stop,
        calibration=run.calibration,
        image_size=int(config.image_size or 0),
        dtype=str(config.set["cache_dtype"]),
        device=device,
    )


def _checkpoint(
    run: RecordedRun, network: Network, space: dict[str, Tensor], norm: JoinedNorm, step: int
) -> Checkpoint:
    config, file, scorer = run.config, run.folder.checkpoint(step), None
    if config.scorer != OWN:
        row, gallery = find_scorer(str(config.scorer)), run.folder.gallery(step)
        backgrounds: list[Background] = []
        if row.needs_background:
            backgrounds = backgrounds_in(norm, *read_background(gallery, network))
        scorer = new_scorer(row, config, norm.widths, backgrounds).fit(read_gallery(gallery, space).numpy())
    tail = copy.deepcopy(network.tail)
    tail.load_state_dict(read_tail(file, network), strict=False)
    return Checkpoint(
        tail=tail,
        head=read_head(file),
        scorer=scorer,
        normaliser=run.folder.normaliser(step),
    )
