"""The layers of EfficientNet-Lite, under the names that timm gives them.

timm has them as well, and a test holds these against timm's. They are here because importing timm imports all of its
networks and torchvision, which takes longer than importing torch: no command that uses a bundled network should wait.
"""

from __future__ import annotations

import math

from torch import nn

WIDTHS, DEPTHS = (1.0, 1.0, 1.1), (1.0, 1.1, 1.2)  # of Lite0, 1 and 2; stem and head are as wide in all
STEM, HEAD, CLASSES = 32, 1280, 1000
# Of each stage: side of the kernel, stride, expansion, channels, blocks. Tan & Le, ICML 2019, Table 1: EfficientNet-B0.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class Block(nn.Module):
    """A block's layers: expansion `conv_pw` (from the second stage on), depthwise `conv_dw`, projection `conv_pwl`.

    The first stage has no expansion, and its projection is called `conv_pw`. `lite_network` says how they are run.
    """

    def __init__(self, given: int, wide: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.has_skip = stride == 1 and given == wide
        inner = given * expansion
        if expansion > 1:
            self.conv_pw, self.bn1 = _convolution(given, inner), _norm(inner)
            self.conv_dw, self.bn2 = _convolution(inner, inner, kernel, stride, groups=inner), _norm(inner)
            self.conv_pwl, self.bn3 = _convolution(inner, wide), _norm(wide)
        else:
            self.conv_dw, self.bn1 = _convolution(inner, inner, kernel, stride, groups=inner), _norm(inner)
            self.conv_pw, self.bn2 = _convolution(inner, wide), _norm(wide)


class LiteNetwork(nn.Module):
    """All layers of EfficientNet-Lite`number`, with random weights. widths: of the stages' outputs."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.widths = [_width(channels, WIDTHS[number]) for _, _, _, channels, _ in STAGES]
        self.conv_stem, self.bn1 = _convolution(3, STEM, 3, 2), _norm(STEM)
        stages, given = [], STEM
        for place, (kernel, stride, expansion, _, blocks) in enumerate(STAGES):
            ends, wide = place in (0, len(STAGES) - 1), self.widths[place]
            depth = blocks if ends else math.ceil(blocks * DEPTHS[number])
            stage = [Block(given if first else wide, wide, kernel, stride if first else 1, expansion)
                     for first in (True, *[False] * (depth - 1))]  # fmt: skip
            stages.append(nn.Sequential(*stage))
            given = wide
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = _convolution(given, HEAD), _norm(HEAD)
        self.classifier = nn.Linear(HEAD, CLASSES)


def _convolution(given: int, wide: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(given, wide, kernel, stride, groups=groups, bias=False)


def _norm(wide: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(wide, eps=1e-3)  # TensorFlow's epsilon


def _width(channels: int, factor: float) -> int:
    """Return `channels` times `factor` as the multiple of 8 that is nearest, but not more than a tenth smaller."""
    wide = max(8, int(channels * factor + 4) // 8 * 8)
    return wide + 8 if wide < 0.9 * channels * factor else wide
