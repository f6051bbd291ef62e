"""The ways to compare patches in torch alone, for graphs: a module for each row of `SEGMENTERS`, fitted as it is.

A module has the three parts of a `PatchMethod` that new images pass through. Nothing is searched for here but the
nearest patch, of which a map and a score need the distance alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.errors import UsageError
from panda_core.export.graph import INSTEAD
from panda_core.linalg import center_of
from panda_core.segmentation.anomalydino import AnomalyDino
from panda_core.segmentation.bank import Bank
from panda_core.segmentation.maps import SMALLEST
from panda_core.segmentation.method import PatchMethod
from panda_core.segmentation.patchcore import PatchCore
from panda_core.segmentation.spade import Spade
from panda_core.segmentation.subspacead import Subspace, residuals

TOGETHER = 8  # rows of a bank of whose products the highest alone is kept; 4 take as long, 16 longer
BLOCK = 1024  # patches of a bank at a time: the products of 784 patches of an image with them take 3 MB
MOST_AT_ONCE = 1 << 21  # products of an image at a time, where the patches compared with differ by image: 8 MB
MOST_STEPS = 64  # of a comparison that is written out step by step

Fused = Callable[[Sequence[Tensor], Sequence[float]], Tensor]


class PatchMethodGraph(Protocol):
    """A fitted method as tensors: patches (B, g, g, D) of each group of levels in, maps and image scores out."""

    def compare(self, groups: Sequence[Tensor], pooled: Tensor | None) -> list[Tensor]:
        """Return the distance (B, g, g) of each patch to the nearest normal one, of each group."""

    def fused(self, levels: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """Return one map (B, g, g) of those of several groups, on one grid (B, g, g), each with its weight."""

    def image_scores(
        self, grids: Tensor, distances: Sequence[Tensor], groups: Sequence[Tensor], pooled: Tensor | None
    ) -> Tensor:
        """Return the score (B,) of each image from the map (B, g, g) of its last groups, of which the rest is given."""


def in_eights(rows: Tensor) -> Tensor:
    """Return rows (R, ...) as (8, R / 8, ...): row r at (r // (R / 8), r % (R / 8)), the last one repeated."""
    missing = -len(rows) % TOGETHER
    filled = torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])
    return filled.reshape(TOGETHER, -1, *rows.shape[1:])


class Nearest(nn.Module):
    """Queries q (M, D) -> (M,): the column of a bank, in eights (8, R / 8, D), where the highest q b - offset is.

    `BLOCK` rows of the bank at a time. In eights, because the highest of eight products is found as fast as they are,
    and the column of the highest of R / 8 in an eighth of the time that the highest of R takes.
    """

    rows: Tensor
    offsets: Tensor

    def __init__(self, rows: Tensor, offsets: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", in_eights(rows))
        self.register_buffer("offsets", in_eights(offsets))

    def forward(self, queries: Tensor) -> Tensor:
        best, count = [], BLOCK // TOGETHER
        for start in range(0, self.rows.shape[1], count):
            block, offsets = (part[:, start : start + count] for part in (self.rows, self.offsets))
            products = torch.addmm(-offsets.flatten(), queries, block.flatten(0, 1).T)  # (M, 8 b)
            best.append(products.reshape(-1, TOGETHER, block.shape[1]).amax(dim=1))
        return torch.cat(best, dim=1).topk(1, dim=1).indices[:, 0]

    def squares(self, queries: Tensor) -> Tensor:
        """Return the squared distance (M,) of queries (M, D) to the nearest of the eight rows of their columns."""
        return (queries - self.rows[:, self(queries)]).square().sum(dim=2).amin(dim=0)


class NearestDistance(nn.Module):
    """Rows (M, D) -> (M,): Euclidean distance to the nearest of a bank's rows (R, D).

    Products find the nearest, |a - b|^2 = |a|^2 - 2 (a b - |b|^2 / 2), around the center of the bank; its distance is
    then a difference, of which no digit is lost where it is small.
    """

    center: Tensor

    def __init__(self, bank: np.ndarray) -> None:
        super().__init__()
        rows = torch.from_numpy(bank)
        self.register_buffer("center", center_of(rows))
        rows = rows - self.center
        self.nearest = Nearest(rows, rows.square().sum(dim=1) / 2)

    def forward(self, rows: Tensor) -> Tensor:
        return self.nearest.squares(rows - self.center).sqrt()


def exactly(bank: Bank) -> NearestDistance:
    """Return the search of a bank; `UsageError` where the bank misses neighbours, which a graph would find."""
    if bank.recall < 1:
        raise UsageError(
            f"The bank is searched approximately and finds {100 * bank.recall:.1f} % of the nearest patches; a graph "
            f"finds all and gives other distances. {INSTEAD}"
        )
    return NearestDistance(bank.features)


def agreed(levels: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the map of `panda_core.segmentation.maps.agreed`, of levels that lie on one grid."""
    squares = [1 / level.clamp(min=SMALLEST).square() for level in levels]
    return 1 / merged(squares, weights).sqrt()


def merged(levels: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the map of `panda_core.segmentation.maps.merged`, of levels that lie on one grid."""
    shares = np.asarray(weights, np.float32) / np.sum(weights, dtype=np.float32)
    return torch.stack([float(share) * level for share, level in zip(shares, levels, strict=True)]).sum(dim=0)


def top_mean(grids: Tensor, top: float) -> Tensor:
    """Return the mean (B,) of `panda_core.segmentation.maps.top_mean`."""
    flat = grids.flatten(1)
    return flat.topk(max(1, round(top * int(flat.shape[1]))), dim=1).values.mean(dim=1)


class PatchCoreGraph(nn.Module):
    """`PatchCore` as tensors."""

    fused = staticmethod(agreed)

    def __init__(self, method: PatchCore) -> None:
        super().__init__()
        self.top = method.top
        self.banks = nn.ModuleList(exactly(bank) for bank in method.banks)
        scoring = method.banks[-method.deepest :][0]
        self.reweighting = Reweighting(scoring, method.reweight) if method.reweight >= 2 else None

    def compare(self, groups: Sequence[Tensor], pooled: Tensor | None) -> list[Tensor]:
        found = [bank(patches.flatten(0, 2)) for bank, patches in zip(self.banks, groups, strict=True)]
        return [distances.reshape(-1, *patches.shape[1:3]) for distances, patches in zip(found, groups, strict=True)]

    def image_scores(
        self, grids: Tensor, distances: Sequence[Tensor], groups: Sequence[Tensor], pooled: Tensor | None
    ) -> Tensor:
        scores = top_mean(grids, self.top)
        return scores if self.reweighting is None else scores * self.reweighting(distances[0], groups[0])


class Reweighting(nn.Module):
    """Distances (B, g, g) and patches (B, g, g, D) -> (B,): the factor of PatchCore's Eq. 7.

    The neighbours of each patch of the bank are found beforehand.
    """

    rows: Tensor
    offsets: Tensor
    around: Tensor
    center: Tensor

    def __init__(self, bank: Bank, neighbours: int) -> None:
        super().__init__()
        features = torch.from_numpy(bank.features)
        self.register_buffer("center", center_of(features))
        self.register_buffer("rows", features - self.center)
        self.register_buffer("around", torch.from_numpy(bank.nearest(bank.features, neighbours)[1]).long())
        self.register_buffer("offsets", self.rows.square().sum(dim=1) / 2)

    def forward(self, distances: Tensor, patches: Tensor) -> Tensor:
        highest = distances.flatten(1).argmax(dim=1)[:, None, None]  # (B, 1, 1)
        moved = patches.flatten(1, 2)
        patch = moved.gather(1, highest.expand(-1, 1, moved.shape[2]))[:, 0] - self.center  # (B, D)
        around = self.around[(patch @ self.rows.T - self.offsets).argmax(dim=1)]  # (B, k)
        lengths = (self.rows[around] - patch[:, None]).square().sum(dim=2).sqrt()
        return 1 - 1 / (lengths - lengths.amin(dim=1, keepdim=True)).exp().sum(dim=1)


class SpadeGraph(nn.Module):
    """`Spade` as tensors: of each level the patches (N, g g, D) of all normal images, around their center."""

    fused = staticmethod(merged)
    known: Tensor
    center: Tensor
    moved: Tensor
    offsets: Tensor

    def __init__(self, method: Spade) -> None:
        super().__init__()
        self.register_buffer("known", torch.from_numpy(method.pooled_.features))
        self.register_buffer("center", center_of(self.known))
        self.register_buffer("moved", self.known - self.center)
        self.register_buffer("offsets", self.moved.square().sum(dim=1) / 2)
        self.nearest_images = min(method.nearest_images, len(self.known))
        self.stored = nn.ModuleList(
            _Stored(patches[:, counts], self.nearest_images)
            for patches, counts in zip(method.groups_, method.counted_, strict=True)
        )

    def _retrieve(self, pooled: Tensor) -> Tensor:
        """Return the rows (B, k) of the nearest normal images, nearest first."""
        products = (pooled - self.center) @ self.moved.T - self.offsets
        return products.topk(self.nearest_images, dim=1).indices

    def compare(self, groups: Sequence[Tensor], pooled: Tensor | None) -> list[Tensor]:
        retrieved = self._retrieve(_pooled(pooled))
        return [stored(patches, retrieved) for stored, patches in zip(self.stored, groups, strict=True)]

    def image_scores(
        self, grids: Tensor, distances: Sequence[Tensor], groups: Sequence[Tensor], pooled: Tensor | None
    ) -> Tensor:
        features = _pooled(pooled)
        nearest = self.known[self._retrieve(features)]  # (B, k, P)
        return (nearest - features[:, None]).square().sum(dim=2).sqrt().mean(dim=1)


class _Stored(nn.Module):
    """Patches (B, g, g, D) and rows (B, k) -> (B, g, g): distance to the nearest patch of the images at these rows.

    As in `Nearest`, with the patches at one place of the k images together.
    """

    patches: Tensor
    center: Tensor
    offsets: Tensor

    def __init__(self, patches: np.ndarray, retrieved: int) -> None:
        super().__init__()
        stored = torch.from_numpy(np.ascontiguousarray(patches))  # (N, P, D)
        self.register_buffer("center", center_of(stored.flatten(0, 1)))
        self.register_buffer("patches", stored - self.center)
        self.register_buffer("offsets", self.patches.square().sum(dim=2) / 2)  # (N, P)
        pairs = stored.shape[1] ** 2  # of patches, of two images
        self.together = max(1, MOST_AT_ONCE // pairs, math.ceil(retrieved / MOST_STEPS))  # images

    def forward(self, patches: Tensor, retrieved: Tensor) -> Tensor:
        moved, count = patches.flatten(1, 2) - self.center, self.patches.shape[1]  # (B, P, D)
        starts, best = range(0, retrieved.shape[1], self.together), []
        steps = [retrieved[:, start : start + self.together] for start in starts]  # (B, m) of each
        for rows in steps:
            products = moved @ self.patches[rows].flatten(1, 2).transpose(1, 2) - self.offsets[rows].flatten(1)[:, None]
            best.append(products.reshape(-1, count, rows.shape[1], count).amax(dim=2))  # (B, P, P)
        place = torch.stack(best).amax(dim=0).topk(1, dim=2).indices  # (B, P, 1)
        nearest = [(moved[:, :, None] - self.patches[rows[:, None], place]).square().sum(dim=3) for rows in steps]
        return torch.cat(nearest, dim=2).amin(dim=2).sqrt().reshape(-1, *patches.shape[1:3])


def _pooled(features: Tensor | None) -> Tensor:
    if features is None:
        raise ValueError("SPADE needs pooled features.")
    return features


class AnomalyDinoGraph(nn.Module):
    """`AnomalyDino` as tensors."""

    fused = staticmethod(merged)

    def __init__(self, method: AnomalyDino) -> None:
        super().__init__()
        self.top = method.top
        self.searches = nn.ModuleList(
            Nearest(references, torch.zeros(len(references))) for references in method.references
        )

    def compare(self, groups: Sequence[Tensor], pooled: Tensor | None) -> list[Tensor]:
        found = []
        for search, patches in zip(self.searches, groups, strict=True):
            squares = cast(Nearest, search).squares(F.normalize(patches.flatten(0, 2), dim=1))
            found.append((squares / 2).reshape(-1, *patches.shape[1:3]))
        return found

    def image_scores(
        self, grids: Tensor, distances: Sequence[Tensor], groups: Sequence[Tensor], pooled: Tensor | None
    ) -> Tensor:
        return top_mean(grids, self.top)


class SubspaceGraph(nn.Module):
    """`Subspace` as tensors."""

    fused = staticmethod(merged)

    def __init__(self, method: Subspace) -> None:
        super().__init__()
        self.top, self.kept = method.top, list(zip(method.means, method.directions, strict=True))

    def compare(self, groups: Sequence[Tensor], pooled: Tensor | None) -> list[Tensor]:
        return [residuals(patches, *kept) for patches, kept in zip(groups, self.kept, strict=True)]

    def image_scores(
        self, grids: Tensor, distances: Sequence[Tensor], groups: Sequence[Tensor], pooled: Tensor | None
    ) -> Tensor:
        return top_mean(grids, self.top)


GRAPHS: dict[type, Callable[..., PatchMethodGraph]] = {
    PatchCore: PatchCoreGraph,
    Spade: SpadeGraph,
    AnomalyDino: AnomalyDinoGraph,
    Subspace: SubspaceGraph,
}


def graph_of_method(method: PatchMethod) -> PatchMethodGraph:
    """Return a fitted method as a module; `UsageError` for one that has none, or whose search is not exact."""
    name = type(method).__name__
    if type(method) not in GRAPHS:
        raise UsageError(f"Comparisons of `{name}` cannot be written as one graph. {INSTEAD}")
    return GRAPHS[type(method)](method)
