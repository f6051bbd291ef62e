"""What joint optimisation is for: a run of it forgets less of ImageNet than one of compactness alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from panda_core import RunConfig
from panda_core.datasets import imagenet_images
from panda_core.features.trunk import compute_trunk
from panda_core.runs.tensors import read_head, read_tail


def test_joint_forgets_less_than_compactness_alone(
    tiny: Callable[..., RunConfig], pictures: Callable[[], Path], finish: Callable[..., Any], tiny_network: Any
) -> None:
    """A classification loss without effect: accuracy on the labelled images after both, for the same steps."""
    root = pictures().parent
    labelled = imagenet_images(root)
    assert labelled is not None
    losses = {}
    for recipe in ("panda-early", "joint"):
        folder, _ = finish(tiny(recipe=recipe, steps=30, eval_every=30, lr=0.5, set={"clip": 0.1}, train_limit=40))
        network, file = tiny_network(), folder.path / "checkpoints" / "000030.safetensors"
        network.tail.load_state_dict(read_tail(file, network), strict=False)
        images = [labelled.images.load(row) for row in range(12)]
        values = compute_trunk(images, network, image_size=32, dtype="float32", device=torch.device("cpu"))
        head = read_head(file) or dict(network.classifier.named_parameters())
        with torch.no_grad():
            features = network.tail(torch.from_numpy(values))[:, -network.level_widths[-1] :]
            logits = F.linear(features, head["weight"], head["bias"])
        losses[recipe] = F.cross_entropy(logits, torch.tensor(labelled.labels)).item()
    assert losses["joint"] < losses["panda-early"]
