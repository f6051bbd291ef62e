"""The space of loss and scores of a run: of each network that takes part a space of its own, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from panda_core.features.space import FeatureNorm


@dataclasses.dataclass(frozen=True)
class JoinedNorm:
    """A fixed, differentiable map of features (B, D) of one or more networks to their spaces (B, D').

    parts: the map of each network's features. One that whitened all of them at once would weigh the networks by how
    they vary together, and there would be no score of a network by itself.
    """

    parts: tuple[FeatureNorm, ...]

    @staticmethod
    def fit(kind: str, features: Tensor, part_levels: tuple[tuple[int, ...], ...], dims: int) -> JoinedNorm:
        """Return the norm for unadapted training features (N, D). As `FeatureNorm.fit`, for each network."""
        shares = features.split([sum(widths) for widths in part_levels], dim=1)
        pairs = zip(shares, part_levels, strict=True)
        return JoinedNorm(tuple(FeatureNorm.fit(kind, share, widths, dims) for share, widths in pairs))

    def __call__(self, features: Tensor) -> Tensor:
        """Return features (B, D) in the space: (B, D'), in float32 at least."""
        if len(self.parts) == 1:
            return self.parts[0](features)
        shares = features.split([sum(part.level_widths) for part in self.parts], dim=1)
        return torch.cat([part(share) for part, share in zip(self.parts, shares, strict=True)], dim=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of each network's space; their sum is D'."""
        return tuple(part.width for part in self.parts)

    def tensors(self) -> dict[str, Tensor]:
        """Return what was learned, by name, for saving; empty for `none` and `l2`."""
        return {
            f"{prefix}{name}": value
            for prefix, part in zip(part_prefixes(len(self.parts)), self.parts, strict=True)
            for name, value in part.tensors().items()
        }

    @staticmethod
    def from_tensors(kind: str, part_levels: tuple[tuple[int, ...], ...], tensors: Mapping[str, Tensor]) -> JoinedNorm:
        """Return the norm that `tensors()` describes."""
        pairs = zip(part_prefixes(len(part_levels)), part_levels, strict=True)
        return JoinedNorm(
            tuple(FeatureNorm.from_tensors(kind, widths, part_tensors(tensors, prefix)) for prefix, widths in pairs)
        )


def part_prefixes(count: int) -> list[str]:
    """Return what the names of each network's tensors begin with: of the first nothing, as where there is but one."""
    return ["", *(f"{number}." for number in range(1, count))]


def part_tensors(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of the network whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if (name.startswith(prefix) if prefix else "." not in name)
    }
