"""The background that a run compares its normal images with, as its network sees it, and whether it can help."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.events import Computing, DataNoted
from panda_core.features.background import KEPT, NEARER, Background, backgrounds_in, condensed, far_of
from panda_core.features.background_file import IMAGES, SIZE, bundled_background
from panda_core.features.joined import JoinedNorm
from panda_core.features.space import tail_features
from panda_core.features.trunk import Activations
from panda_core.runs.tensors import BACKGROUND

FEWEST = 4  # images of which each half measures the other


@dataclasses.dataclass(frozen=True)
class BackgroundRows:
    """What is known of the background under a network as it is.

    rows: condensed features (K + 1, D), in no space. far: see `far_of`, of each network that it is made of.
    """

    rows: Tensor
    far: tuple[float, ...]

    def tensors(self) -> dict[str, Tensor]:
        """Return it by name, for saving."""
        return dict(zip(BACKGROUND, (self.rows, torch.tensor(self.far, dtype=torch.float32)), strict=True))

    def in_space(self, norm: JoinedNorm) -> list[Background]:
        """Return the background as the space of each network of a run sees it."""
        return backgrounds_in(norm, self.rows, self.far)


@dataclasses.dataclass(frozen=True)
class BackgroundImages:
    """Activations (N, ...) of images of anything, whose features follow the network."""

    values: Activations

    def seen_by(self, network: Network, kind: str, device: torch.device) -> Computing[BackgroundRows]:
        """Return what is known of it under the network as it is. kind: of the run's space."""
        features = yield from tail_features(network.tail, self.values, device)
        shares = features.split([sum(widths) for widths in network.part_levels], dim=1)
        far = [far_of(share, kind, widths) for share, widths in zip(shares, network.part_levels, strict=True)]
        return BackgroundRows(torch.cat([condensed(share) for share in shares], dim=1), tuple(far))


@dataclasses.dataclass(frozen=True)
class BundledImages:
    """The background that comes with the program, for normal images of `side` pixels as the network sees them."""

    backbone: str
    side: int

    def seen_by(self, network: Network, kind: str, device: torch.device) -> Computing[BackgroundRows]:
        """Return what the file says; the network is as it was then."""
        yield None
        bundled = bundled_background(self.backbone, self.side)
        return BackgroundRows(torch.from_numpy(bundled.rows), bundled.far["none" if kind == "none" else "l2"])

    def told(self, image_size: int) -> str | None:
        """Return a sentence where the photographs were seen otherwise than the normal images; None where not."""
        bundled = bundled_background(self.backbone, self.side)
        if (bundled.side, SIZE) == (self.side, image_size):
            return None
        return (
            f"The background is of {IMAGES:,} photographs of {bundled.side} px seen at {SIZE} px, the nearest that "
            f"comes with the program; the normal images have {self.side} px and are seen at {image_size} px. With "
            "`--set background=imagenet_sample` both are seen alike."
        )


def few_told(count: int) -> str:
    """Return what is to be said of a background of so few images that they span fewer directions than are kept.

    Measured on CIFAR-10, 128 normal images, 10 classes and 3 draws of a sample of ImageNet, 1,000 test images: over
    `mahalanobis` (90.2) 4 images add -0.3 AUROC points, 8 add 0.6, 16 0.8, 65 1.0, 256 1.6, and all 1,000 1.9.
    """
    return (
        f"The background has {count} images, which show {count - 1} of the {KEPT} directions that it is told apart by. "
        "On CIFAR-10, 65 images add half of what 1,000 add, and four add nothing. Name hundreds of images of anything."
    )


def told_of(background: BackgroundRows, norm: JoinedNorm, normal: Tensor) -> DataNoted | None:
    """Return a note where normal features (N, D'), in the run's space, lie far from the background; None where not.

    The scorer leaves the background out there, see `RelativeMahalanobisScorer`; of several networks each by itself.
    """
    shares = normal.split(list(norm.widths), dim=1)
    typical = [np.median(part(share).numpy()) for part, share in zip(background.in_space(norm), shares, strict=True)]
    far = int(np.sum(np.array(typical) > background.far))
    if not far:
        return None
    some = "all" if far == len(typical) else f"{far} of the"
    seen = "" if len(typical) == 1 else f"As {some} {len(typical)} networks see them, "
    told = (
        f"{seen}{'t' if seen else 'T'}he normal images do not look like the background: half of them are farther from "
        f"it than {NEARER:.0%} of its own images. Comparing with it would add nothing, or cost points; they are scored "
        "without it, as by `mahalanobis`."
    )
    return DataNoted(told=told)
