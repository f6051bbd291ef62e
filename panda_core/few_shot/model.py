"""A frozen network, a constraintor and a flow for each of its levels: images and references in, maps out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.backbones.network import Network
from panda_core.config import RunConfig
from panda_core.errors import UsageError
from panda_core.features.trunk import network_input, squared
from panda_core.few_shot.constraintor import Constraintor
from panda_core.few_shot.flow import PositionFlow, position_code
from panda_core.few_shot.residuals import References, residual
from panda_core.segmentation.geometry import network_side
from panda_core.segmentation.patches import aligned_patches
from panda_core.segmentation.probing import CELLS, cells_of, cells_tensor, find_cells

FLAT = 1e-6  # the smallest scale of a channel: one that never changes must not become infinite


class ResidualModel:
    """ResAD with the stages `levels` of a network, as a resolved config describes it. Untrained until it is loaded."""

    def __init__(
        self,
        config: RunConfig,
        network: Network,
        levels: tuple[str, ...],
        device: torch.device,
    ) -> None:
        options: Mapping[str, Any] = config.set
        self.network, self.levels, self.device = network, levels, device
        self.image_size, self.sigma = int(config.image_size or 0), float(options["sigma"])  # image_size: of a map
        self.side = network_side(self.image_size)  # pixels that the network looks at
        self.cells = find_cells(network, levels, self.side, device)
        self.kind, self.count = str(options["residual"]), int(options["references"])
        self.top, self.chunk = float(options["top"]), int(options["chunk"])
        self.neighbourhood, self.condition = int(options["neighbourhood"]), int(options["position_width"])
        with torch.inference_mode():
            probe = torch.zeros(1, 3, self.side, self.side, device=device)
            shapes = [level.shape for level in network.stage_maps(probe, levels)]
        widths = [shape[1] for shape in shapes]
        if min(widths) < 2:
            raise UsageError(f"A level needs at least 2 channels; got {min(widths)}. Set other `--set levels=`.")
        self.widths = tuple(widths)
        blocks = int(options["blocks"])
        positive = self.kind == "squared"  # the ReLU that keeps squares positive would cut signed residuals
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.constraintors = nn.ModuleList(Constraintor(width, positive=positive) for width in widths)
        self.flows = nn.ModuleList(
            PositionFlow(width, blocks=blocks, condition=self.condition, seed=config.seed) for width in widths
        )
        # Buffers of a module, so that they are saved and moved with the rest.
        self.measures = nn.ModuleList(Measures(width) for width in widths)
        self.sides = [(shape[2], shape[3]) for shape in shapes]
        self._codes = [position_code(side, self.condition).flatten(0, 1).to(device) for side in self.sides]
        self._parts().to(device)
        self.set_training(False)

    def _parts(self) -> nn.ModuleDict:
        return nn.ModuleDict({"constraintor": self.constraintors, "flow": self.flows, "measures": self.measures})

    def set_training(self, training: bool) -> None:
        """Have BatchNorm use and follow the statistics of its batch, or those that it has learned."""
        self._parts().train(training)

    @torch.inference_mode()
    def features(self, images: Sequence[np.ndarray]) -> list[Tensor]:
        """Return features (B, h, w, C) of decoded images (H, W, 3) for each level, on this model's device."""
        # A map must lie over all of an image: also networks whose weights came with a center crop see the whole of it.
        preprocessing = dataclasses.replace(self.network.preprocessing, crop=1.0)
        batch = np.stack([squared(image, self.side, preprocessing) for image in images])
        features = self.features_of(network_input(batch, preprocessing).to(self.device))
        return [level.float().contiguous() for level in features]

    def features_of(self, x: Tensor) -> list[Tensor]:
        """Return features (B, h, w, C) of each level of network input (B, 3, S, S)."""
        return [aligned_patches([level], self.neighbourhood) for level in self.network.stage_maps(x, self.levels)]

    def residuals_to(self, level: int, features: Tensor, references: Sequence[References]) -> Tensor:
        """Return residuals (B, h, w, C) of features to the references of each image's class."""
        if self.kind == "none":
            return residual("none", features, None)
        matched = []
        for image, known in zip(features, references, strict=True):
            rows = known.nearest(level, image[None]).rows[0, ..., 0]
            matched.append(known.pools[level][rows])
        return residual(self.kind, features, torch.stack(matched))

    def fit_scales(self, level: int, residuals: Tensor) -> None:
        """Take the size of each channel of normal residuals (N, C) as its unit.

        The released code has no such step: its radius of 0.4 suits the features of a Wide ResNet. With it the mean
        square of a whole normal residual is 1, whatever the network. Without residuals the mean is taken away first.
        """
        measures = self.measured(level)
        center = residuals.mean(dim=0) if self.kind == "none" else torch.zeros_like(residuals[0])
        measures.centre.copy_(center)
        measures.scale.copy_((residuals - center).square().mean(dim=0).sqrt().clamp(min=FLAT))

    def measured(self, level: int) -> Measures:
        """Return what was measured of a level."""
        return cast(Measures, self.measures[level])

    def scaled(self, level: int, residuals: Tensor) -> Tensor:
        """Return residuals (..., C) in units of normal ones."""
        measures = self.measured(level)
        return (residuals - measures.centre) / (measures.scale * math.sqrt(self.widths[level]))

    def constrained(self, level: int, scaled: Tensor) -> Tensor:
        """Return constrained residuals (B, h, w, C) of scaled ones."""
        constrained: Tensor = self.constraintors[level](scaled.permute(0, 3, 1, 2))
        return constrained.permute(0, 2, 3, 1)

    def codes(self, level: int, images: int) -> Tensor:
        """Return the position codes (B h w, P) of so many images of a level."""
        return self._codes[level].repeat(images, 1)

    def likelihoods(self, level: int, constrained: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return p_n and p_a (N,) of constrained residuals (N, C)."""
        # Back to a mean square of about 1 a channel, where a flow begins near the identity.
        flow = cast(PositionFlow, self.flows[level])
        return flow.log_likelihoods(constrained * math.sqrt(self.widths[level]), code)

    @torch.inference_mode()
    def level_likelihoods(self, level: int, residuals: Tensor) -> tuple[Tensor, Tensor]:
        """Return p_n and p_a, each (B, h, w), of residuals (B, h, w, C)."""
        constrained = self.constrained(level, self.scaled(level, residuals)).flatten(0, 2)
        code, shape = self.codes(level, len(residuals)), residuals.shape[:3]
        batches = [
            self.likelihoods(level, constrained[start : start + self.chunk], code[start : start + self.chunk])
            for start in range(0, len(constrained), self.chunk)
        ]
        normal, other = (torch.cat(side).reshape(shape) for side in zip(*batches, strict=True))
        return normal, other

    def tensors(self) -> dict[str, Tensor]:
        """Return all that was learned, by name, for saving."""
        parts = {name: value.detach().cpu().clone() for name, value in self._parts().state_dict().items()}
        return {**parts, CELLS: cells_tensor(self.cells)}

    def load(self, tensors: Mapping[str, Tensor]) -> ResidualModel:
        """Take what `tensors()` returned; a missing one or one of another shape raises an error."""
        parts = dict(tensors)
        if (cells := parts.pop(CELLS, None)) is not None:  # older runs measure them anew
            self.cells = cells_of(cells)
        self._parts().load_state_dict(parts)
        return self


class Measures(nn.Module):
    """What was measured of one level, by the names that saved runs have.

    centre, scale: (C,), of residuals.
    ceiling, unit: of log-likelihoods, scalars.
    """

    centre: Tensor
    scale: Tensor
    ceiling: Tensor
    unit: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("ceiling", torch.zeros(()))
        self.register_buffer("unit", torch.ones(()))
