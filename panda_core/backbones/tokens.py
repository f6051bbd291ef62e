"""Cutting a Vision Transformer between two blocks: tokens go in, tokens come out.

What runs before the blocks (patches, class and register tokens, positions) and the first blocks are timm's own
`forward_intermediates`. The rest is the last blocks, the norm and timm's `forward_head`, which pools as the network was
made to: the class token (ViT, CLIP, DINOv2), or the mean over the patches (DINOv3 and EVA-02 in timm). Rotary positions
(RoPE) are added inside each block, so that blocks after the cut need them again; they depend on the grid alone.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from panda_core.errors import unknown_name
from panda_core.torchvision_operators import load_timm

# What runs before the first block, and the classifier: no part of a tail.
_BEFORE = ("patch_embed", "pos_drop", "patch_drop", "norm_pre", "blocks", "head")


def is_transformer(network: nn.Module) -> bool:
    """Return whether `network` is a stack of blocks over tokens that `split` can cut.

    Not where positions are learned for each block (mixed RoPE): blocks before and after a cut would share them.
    """
    timm = load_timm()
    kinds = (timm.models.vision_transformer.VisionTransformer, timm.models.eva.Eva)
    return isinstance(network, kinds) and not getattr(network, "rope_mixed", False)


def _half(network: nn.Module) -> Any:
    """Return a copy of `network` that shares its parts and can have others in their place."""
    half = copy.copy(network)
    for kept in ("_modules", "_parameters", "_buffers"):
        setattr(half, kept, dict(getattr(network, kept)))
    return half


class TokenTrunk(nn.Module):
    """Images (B, 3, S, S) -> all tokens (B, N, D) after block `last`, class and register tokens first."""

    def __init__(self, network: nn.Module, last: int) -> None:
        super().__init__()
        self.last, self.network = last, _half(network)
        self.network.prune_intermediate_layers(indices=[last], prune_norm=True, prune_head=True)

    def forward(self, x: Tensor) -> Tensor:
        (found,) = self.network.forward_intermediates(
            x,
            indices=[self.last],
            return_prefix_tokens=True,
            output_fmt="NLC",
            stop_early=True,
            intermediates_only=True,
        )
        if isinstance(found, Tensor):  # no class token, no registers
            return found
        patches, before = found  # (B, h w, D), (B, P, D)
        return torch.cat([before, patches], dim=1)


class TokenTail(nn.Module):
    """Tokens (B, N, D) after a block -> pooled features (B, D). N without class and register tokens is a square."""

    def __init__(self, network: Any, first: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({str(place): block for place, block in enumerate(network.blocks) if place >= first})
        self.end = _half(network)
        self.end._modules = {name: part for name, part in network._modules.items() if name not in _BEFORE}
        self.end._parameters = {}

    def forward(self, tokens: Tensor) -> Tensor:
        side = math.isqrt(tokens.shape[1] - self.end.num_prefix_tokens)
        rope = getattr(self.end, "rope", None)
        positions = None if rope is None else rope.get_embed(shape=(side, side))  # (h w, 2 D / heads)
        for block in self.blocks.values():
            tokens = block(tokens) if positions is None else block(tokens, rope=positions)
        features: Tensor = self.end.forward_head(self.end.norm(tokens), pre_logits=True)
        return features


def split(network: Any, cut: str) -> tuple[nn.Module, nn.Module]:
    """Return (trunk, tail) of a transformer cut after the block `cut`, "blocks.N"; they share no parameter.

    tail(trunk(x)) equals forward_head(forward_features(x), pre_logits=True). `UsageError` for another name, also that
    of the last block: nothing would be left to adapt.
    """
    names = [f"blocks.{number}" for number in range(len(network.blocks) - 1)]
    if cut not in names:
        raise unknown_name("cut of this network", cut, ["input", *names], "--set cut=")
    last = names.index(cut)
    return TokenTrunk(network, last), TokenTail(network, last + 1)
