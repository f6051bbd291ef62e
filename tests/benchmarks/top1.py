"""Top-1 accuracy of a bundled network on ImageNet images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from panda_core.backbones.backbone import Preprocessing
from panda_core.datasets import imagenet_images
from panda_core.features.trunk import network_input, squared
from tests.backbones.timms_lite import timms_lite

BATCH = 50
DATA = Path(os.environ.get("PANDA_DATA") or "nowhere")


@torch.no_grad()
def accuracy(number: int, data: Path, count: int | None = None) -> float:
    """Return the share of right first guesses of EfficientNet-Lite`number` on `count` evenly spaced images, or all.

    Input side, crop and interpolation are those of the network's release.
    """
    labelled = imagenet_images(data)
    assert labelled is not None
    network = timms_lite(number)
    network.to(memory_format=torch.channels_last)
    spec = network.pretrained_cfg
    release = Preprocessing(tuple(spec["mean"]), tuple(spec["std"]), spec["interpolation"], spec["crop_pct"])
    rows = np.linspace(0, len(labelled.images) - 1, count or len(labelled.images)).astype(int)
    right = 0
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        images = np.stack([squared(labelled.images.load(int(row)), spec["input_size"][1], release) for row in batch])
        guesses = network(network_input(images, release)).argmax(dim=1).numpy()
        right += int((guesses == labelled.labels[batch]).sum())
    return right / len(rows)


def top1() -> Iterator[tuple[str, str, str, str]]:
    """Top-1 accuracy of the bundled networks on one image of each ImageNet class, preprocessed as in their release."""
    for number, target in ((0, 86), (1, 88), (2, 89)):
        what = f"EfficientNet-Lite{number}, top-1 on imagenet_sample"
        yield what, f"{100 * accuracy(number, DATA):.1f} %", f"{target} % or better", "1,000 images, 256 px copies"
