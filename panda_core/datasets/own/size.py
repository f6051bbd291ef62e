"""The side, in pixels, at which images of one's own are learned: it follows how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from panda_core.datasets.io.headers import stored_size
from panda_core.datasets.io.smaller import looked_at
from panda_core.errors import UnreadableImage

STEP = 32  # networks halve an image five times
SMALLEST = 128  # of which smaller pictures are enlarged: CIFAR-10 with its 32 px is no better at 192
# The best on the mean of four sets, AUROC of the unadapted EfficientNet-Lite0 (BENCHMARKS.md, "sizes"): 92.4 at 128 px,
# 92.7 at 160, 92.6 at 192, 92.4 at 224. Photographs gain two points from 128 to 192, solar cells lose one and a half.
LARGEST = 160


def learning_side(short_side: int) -> int:
    """Return the side at which pictures of such a short side are learned: the multiple of 32 below it, 128 or 160."""
    return min(max(short_side // STEP * STEP, SMALLEST), LARGEST)


def typical_file_side(paths: Sequence[Path]) -> int:
    """Return the median short side, in pixels, of `looked_at` image files; 1 where no head can be read."""
    sides = []
    for row in looked_at(len(paths)):
        try:
            (width, height), _ = stored_size(paths[row], paths[row].name)
        except UnreadableImage:  # named elsewhere, when the images are read
            continue
        sides.append(min(width, height))
    return int(np.median(sides)) if sides else 1
