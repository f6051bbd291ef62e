"""From a network's stage maps to patches: averaged over neighbours, levels aligned, in one space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panda_core.features.space import FeatureNorm
from panda_core.segmentation.geometry import Cells, reading_matrices

NORM_SAMPLE = 100_000  # patches from which the whitening is estimated
RIDGE = 1.0  # of patches, whose variances many of them tell; chosen with the other settings on magnetic tiles
LENGTHY = "whiten-raw"  # the kind of norm that keeps the length of patches


def aligned_patches(
    maps: Sequence[Tensor], neighbourhood: int, border: str = "inside", cells: Sequence[Cells] | None = None
) -> Tensor:
    """Return patches (B, g, g, D) of stage maps (B, C, h, w), side by side; g is the side of the first map.

    Each map is averaged over `neighbourhood` x `neighbourhood` places, then read at the centers of the first one's
    cells: enlarged bilinearly (PatchCore, Sec. 3.1) or averaged down. cells: where those of each map lie; None: they
    divide the image evenly. border: at the border the mean is over places `inside` the image, or `zeros` count outside
    of it, as in the released code: patches at a border are then unlike those elsewhere.
    """
    cells = cells or [Cells.even(1, level.shape[-1]) for level in maps]
    side, aligned = (maps[0].shape[2], maps[0].shape[3]), []
    for level, own in zip(maps, cells, strict=True):
        if neighbourhood > 1:
            level = F.avg_pool2d(level, neighbourhood, 1, neighbourhood // 2, count_include_pad=border == "zeros")[
                ..., : level.shape[-2], : level.shape[-1]
            ]
        if own != cells[0] or level.shape[2:] != side:
            matrices = reading_matrices(own, (level.shape[2], level.shape[3]), cells[0], side)
            rows, columns = (torch.from_numpy(matrix).to(level) for matrix in matrices)
            level = torch.einsum("gh,bchw,kw->bcgk", rows, level, columns)  # (B, C, g, g)
        aligned.append(level)
    return torch.cat(aligned, dim=1).permute(0, 2, 3, 1)


@dataclasses.dataclass(frozen=True)
class PatchSpace:
    """The space in which patches of a group of levels are compared.

    norm: fixed from the patches of normal images. lengthy: the same for patches whose length is kept, put beside
    them, or None: unit length hides how bright and how strong in contrast a place is. position: how much the place in
    the image counts, in feature units; with 0 it does not, and patches have no coordinates.
    """

    norm: FeatureNorm
    lengthy: FeatureNorm | None = None
    position: float = 0.0

    @staticmethod
    def fit(
        kind: str,
        patches: np.ndarray,
        widths: tuple[int, ...],
        dims: int,
        position: float,
        seed: int,
        keep_length: bool = False,
    ) -> PatchSpace:
        """Return the space for patches (N, g, g, D) of normal images; `position` relative to their mean length.

        keep_length: whether whitened patches are also compared with their length; it changes nothing elsewhere.
        """
        flat = patches.reshape(-1, patches.shape[-1])
        if len(flat) > NORM_SAMPLE:
            flat = flat[np.sort(np.random.default_rng(seed).choice(len(flat), NORM_SAMPLE, replace=False))]
        sample = torch.from_numpy(flat)
        norm = FeatureNorm.fit(kind, sample, widths, dims, RIDGE)
        lengthy = FeatureNorm.fit(LENGTHY, sample, widths, dims, RIDGE) if keep_length and kind == "whiten" else None
        space = PatchSpace(norm, lengthy)
        length = float(space._moved(sample[:10_000]).norm(dim=1).mean()) if position else 0.0
        return dataclasses.replace(space, position=position * length)

    def _moved(self, flat: Tensor) -> Tensor:
        """Return patches (N, D) in this space, without places."""
        return torch.cat([norm(flat) for norm in (self.norm, self.lengthy) if norm is not None], dim=1)

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        """Return patches (B, g, g, D) in this space: float32 (B, g, g, D')."""
        return self.in_space(torch.from_numpy(patches)).numpy()

    def in_space(self, patches: Tensor) -> Tensor:
        """Return patches (B, g, g, D) in this space, (B, g, g, D'), as tensors: what an exported graph computes."""
        high, wide = int(patches.shape[1]), int(patches.shape[2])
        moved = self._moved(patches.reshape(-1, patches.shape[-1]))
        moved = moved.reshape(-1, high, wide, moved.shape[-1])
        if not self.position:
            return moved
        places = [np.linspace(-0.5, 0.5, side, dtype=np.float32) * self.position for side in (high, wide)]
        grid = torch.from_numpy(np.stack(np.meshgrid(*places, indexing="ij"), axis=-1))  # (g, g, 2)
        return torch.cat([moved, grid.expand(moved.shape[0], high, wide, 2)], dim=-1)

    def tensors(self) -> dict[str, Tensor]:
        """Return what was learned, by name."""
        lengthy = {} if self.lengthy is None else self.lengthy.tensors()
        return {
            **self.norm.tensors(),
            **{f"{LENGTHY}.{name}": value for name, value in lengthy.items()},
            "position": torch.tensor([self.position]),
        }

    @staticmethod
    def from_tensors(kind: str, widths: tuple[int, ...], tensors: Mapping[str, Tensor]) -> PatchSpace:
        """Return the space that `tensors()` describes."""
        below = f"{LENGTHY}."
        lengths = {name.removeprefix(below): value for name, value in tensors.items() if name.startswith(below)}
        return PatchSpace(
            FeatureNorm.from_tensors(kind, widths, tensors),
            FeatureNorm.from_tensors(LENGTHY, widths, lengths) if lengths else None,
            float(tensors["position"][0]),
        )
