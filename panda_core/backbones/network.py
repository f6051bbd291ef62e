"""A pretrained network cut in two: a frozen trunk that runs once, and a tail that is adapted."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from panda_core.backbones.backbone import Preprocessing
from panda_core.errors import UsageError

AnyModule = TypeVar("AnyModule", bound=nn.Module)
INPUT = "input"  # the cut before the first layer: the trunk hands the prepared image on, the tail is all of the network


@dataclasses.dataclass
class Network:
    """A loaded network. All of it stays in evaluation mode, unless `statistics_move`: BatchNorm statistics never move.

    trunk: (B, 3, S, S) -> activations, frozen: maps (B, C, h, w) or tokens (B, N, C); the tail alone reads them.
    tail: activations -> (B, D), pooled features of one or more levels side by side, `level_widths` wide each.
    classifier: features of the last level (B, ...), see `last_level`, -> (B, 1000) logits of the network's own classes,
    or None where it has none.
    stage_maps: (images (B, 3, S, S), names of stages) ->
    their outputs (B, C, h, w), of the network as it is now, adapted or not. stages: the names it knows, in order.
    levels: those that are compared patch by patch unless others are named. statistics_move: whether the tail is a
    network without pretraining, whose BatchNorm statistics follow the batches while it is trained. patch: the side in
    pixels of the patches that divide an image evenly in every stage, or None. note: what a user is told of its weights.
    networks: how many it is made of, each with as many levels, all of one before all of the next.
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
    statistics_move: bool = False
    patch: int | None = None
    note: str = ""
    networks: int = 1

    @property
    def part_levels(self) -> tuple[tuple[int, ...], ...]:
        """The widths of the levels of each network that it is made of."""
        count = len(self.level_widths) // self.networks
        return tuple(self.level_widths[at : at + count] for at in range(0, len(self.level_widths), count))

    def last_level(self, features: Tensor) -> Tensor:
        """Return what a classifier reads of tail features (B, D): their last level, of several networks of each."""
        parts = features.split([sum(widths) for widths in self.part_levels], dim=1)
        return torch.cat([part[:, -w[-1] :] for part, w in zip(parts, self.part_levels, strict=True)], dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """Return the class logits (B, 1000) of tail features (B, D)."""
        if self.classifier is None:
            raise ValueError("This network has no classifier.")
        return self.classifier(self.last_level(features))

    def to(self, device: torch.device) -> Network:
        """Move every part to `device` and return self. Activations are kept channels-last, the faster layout."""
        for part in (self.trunk, self.tail, self.classifier):
            if part is not None:
                part.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self


def freeze(module: AnyModule) -> AnyModule:
    """Return `module` in evaluation mode with no trainable parameter."""
    return module.eval().requires_grad_(False)


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of the names and values of all that a module holds."""
    sha256 = hashlib.sha256()
    for name, value in module.state_dict().items():
        sha256.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return sha256.hexdigest()


@torch.no_grad()
def start_anew(module: nn.Module, seed: int) -> nn.Module:
    """Give every weight of `module` its random start and return it: the same for the same seed, on every device.

    Kernels and matrices after Glorot & Bengio (AISTATS 2010) with the gain of a leaky ReLU, as the authors of DeepSVDD;
    scales 1, shifts and biases 0.
    """
    generator, gain = torch.Generator().manual_seed(seed), nn.init.calculate_gain("leaky_relu")
    for name, value in module.named_parameters():
        if value.ndim > 1:
            value.copy_(nn.init.xavier_uniform_(torch.empty(value.shape), gain, generator))
        else:
            value.fill_(float(name.endswith("weight")))
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
    return module


def untrained(tail: nn.Module, width: int, preprocessing: Preprocessing) -> Network:
    """Return a network without pretraining that is all tail. Its weights start at seed 0; recipes draw their own."""
    start_anew(tail, 0)
    return Network(
        trunk=freeze(nn.Identity()),
        tail=freeze(tail),
        classifier=None,
        level_widths=(width,),
        preprocessing=preprocessing,
        cut=INPUT,
        weights_sha256=digest(tail),
        stage_maps=_no_maps,
        stages=(),
        levels=(),
        statistics_move=True,
    )


def _no_maps(x: Tensor, stages: Sequence[str]) -> list[Tensor]:
    raise UsageError("This network has not been pretrained and has no maps. Set `--backbone efficientnet_lite0`.")
