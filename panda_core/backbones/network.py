"""A pretrained network cut in two: a frozen trunk that runs once, and a tail that is adapted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from panda_core.backbones.backbone import Preprocessing


@dataclasses.dataclass
class Network:
    """A loaded network. All of it stays in evaluation mode: BatchNorm statistics never move.

    trunk: (B, 3, S, S) -> (B, C, h, w), frozen. tail: (B, C, h, w) -> (B, D), pooled features of one or more
    levels side by side, `level_widths` wide each. classifier: (B, level_widths[-1]) -> (B, 1000) logits of the
    network's own classes, or None where the weights have none. stage_maps: (images (B, 3, S, S), names of stages) ->
    their outputs (B, C, h, w), of the network as it is now, adapted or not. stages: the names it knows, in order.
    levels: those that are compared patch by patch unless others are named.
    """

    trunk: nn.Module
    tail: nn.Module
    classifier: nn.Module | None
    level_widths: tuple[int, ...]
    preprocessing: Preprocessing
    cut: str
    weights_sha256: str
    stage_maps: Callable[[Tensor, Sequence[str]], list[Tensor]]
    stages: tuple[str, ...]
    levels: tuple[str, ...]

    def logits(self, features: Tensor) -> Tensor:
        """Return the class logits (B, 1000) of tail features (B, D)."""
        if self.classifier is None:
            raise ValueError("This network has no classifier.")
        return self.classifier(features[:, -self.level_widths[-1] :])

    def to(self, device: torch.device) -> Network:
        """Move every part to `device` and return self. Activations are kept channels-last, the faster layout."""
        for part in (self.trunk, self.tail, self.classifier):
            if part is not None:
                part.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self


def freeze(module: nn.Module) -> nn.Module:
    """Return `module` in evaluation mode with no trainable parameter."""
    return module.eval().requires_grad_(False)
