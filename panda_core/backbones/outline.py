"""What a network of timm is like, found without a number of it: on torch's `meta` device, which has shapes alone.

Its stages, their sizes, where it is cut and which images it takes are known before any weight is downloaded, any image
read or anything computed.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
from torch import nn

from panda_core.backbones.network import INPUT
from panda_core.backbones.tokens import is_transformer
from panda_core.torchvision_operators import load_timm

EIGHTH = 8  # of the input side: where a network is cut by default, as the paper cuts a ResNet after `layer2`
ADAPTED = 6  # a transformer's tail is one in so many of its blocks
LARGEST = 448  # pixels: weights of a transformer that were made for more are used at `USUAL`
USUAL = 224


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of a network: the name of its module, the channels of its map, and pixels from one cell to the next."""

    name: str
    width: int
    reduction: int


@dataclasses.dataclass(frozen=True)
class Outline:
    """A network without its weights. network: on the `meta` device. stages: those that give maps, in order."""

    network: Any
    stages: tuple[Stage, ...]

    @property
    def even(self) -> bool:
        """Whether all stages are blocks over the same patches, as a transformer's are."""
        return len(self.stages) > 2 and len({stage.reduction for stage in self.stages}) == 1

    @property
    def patch(self) -> int | None:
        """The side in pixels of the patches that divide an image, where nothing shifts them; else None."""
        return self.stages[0].reduction if self.even and is_transformer(self.network) else None

    @property
    def cut(self) -> str:
        """The default cut: a sixth of a transformer's blocks is adapted, else what comes after an eighth of the side.

        A transformer's blocks are all of one size. The last sixth of them, two of twelve, costs a sixth of a step, and
        what is adapted stays near what was pretrained. Chosen, not measured. `input`, where no stage is known: all of
        the network is adapted.
        """
        if self.even:
            return self.stages[-1 - max(1, round(len(self.stages) / ADAPTED))].name
        return self._deep[0].name if self._deep else INPUT

    @property
    def levels(self) -> tuple[str, ...]:
        """The two stages that are compared patch by patch: `layer2` and `layer3` of a ResNet (PatchCore).

        Of a transformer those after a half and three quarters of its blocks: early ones know little, and the last
        ones are made for the class token.
        """
        if self.even:
            return tuple(self.stages[len(self.stages) * quarters // 4 - 1].name for quarters in (2, 3))
        return tuple(stage.name for stage in self._deep[:2])

    @property
    def _deep(self) -> list[Stage]:
        return [stage for stage in self.stages if stage.reduction >= EIGHTH]

    @property
    def image_size(self) -> int:
        """The input side of its pretraining, or one that takes less time where a transformer's is large.

        DINOv2 was trained at 224 px, and at 518 px for the end alone (Oquab et al. 2023, Sec. 4); its published
        results are at 224 px, and at 518 px an image takes over six times as long.
        """
        return USUAL if self.side > LARGEST and self.even and self.takes(USUAL) else self.side

    @property
    def side(self) -> int:
        """The input side of its pretraining, or the next one below that it takes: 378 of 384 px in patches of 14."""
        return _own_side(self.network)

    def image(self) -> torch.Tensor:
        """Return an image (1, 3, S, S) without values."""
        return _image(self.side)

    def takes(self, side: int) -> bool:
        """Return whether the network takes images of `side` pixels."""
        return _takes(self.network, side)


@functools.lru_cache(maxsize=4096)
def _takes(network: nn.Module, side: int) -> bool:
    try:
        with torch.no_grad():
            network.forward_head(network.forward_features(_image(side)), pre_logits=True)  # type: ignore[operator]
    except Exception:  # each network has its own way to refuse a size
        return False
    return True


def _own_side(network: Any) -> int:
    given = int(network.pretrained_cfg["input_size"][1])
    return next((side for side in range(given, given // 2, -1) if _takes(network, side)), given)


def _image(side: int) -> torch.Tensor:
    return torch.zeros(1, 3, side, side, device="meta")


@functools.lru_cache(maxsize=16)
def outline(name: str) -> Outline:
    """Return the outline of timm's network `name`."""
    with torch.device("meta"):
        network = load_timm().create_model(name, pretrained=False, **arguments(name)).eval()
    return Outline(network, _stages(network))


@functools.lru_cache(maxsize=64)
def arguments(name: str) -> dict[str, Any]:
    """Return what timm's `create_model` is told besides the name.

    That a transformer is to take images of other sizes than its own, where timm can do it, and that DINOv3 gives its
    class token, as its authors use it; timm's default is the mean over the patches.
    """
    with torch.device("meta"):
        network = load_timm().create_model(name, pretrained=False)
    given: dict[str, Any] = {}
    if getattr(network, "dynamic_img_size", None) is not None:
        given["dynamic_img_size"] = True
    if "_dinov3" in name.split(".")[0] and is_transformer(network):
        given["global_pool"] = "token"
    return given


def _stages(network: Any) -> tuple[Stage, ...]:
    """Return the stages whose maps `forward_intermediates` gives; empty where it gives none that are known by name."""
    named = list(getattr(network, "feature_info", None) or [])
    try:
        with torch.no_grad():
            maps = network.forward_intermediates(_image(_own_side(network)), output_fmt="NCHW", intermediates_only=True)
    except Exception:  # some networks of timm have no such interface, others refuse what they cannot do
        return ()
    stages = tuple(Stage(str(row["module"]), int(row["num_chs"]), int(row["reduction"])) for row in named)
    fits = len(maps) == len(stages) and all(
        level.ndim == 4 and level.shape[1] == stage.width for level, stage in zip(maps, stages, strict=True)
    )
    return stages if fits else ()
