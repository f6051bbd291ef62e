"""The adaptation loop as the released PANDA code has it, in plain PyTorch: the yardstick of the speed figures.

Every pass decodes every image anew through a `DataLoader` with two workers and sends it through the whole network in
PyTorch's default memory layout. Network, images, trained stages, batch size and optimiser are the same as ours.

`python -m tests.benchmarks.released_loop` reads `train` and `test` paths, `size` and `first` as JSON, makes one epoch
and one evaluation in a process of its own, with PyTorch's default settings, and prints the seconds of both as JSON.
"""

from __future__ import annotations

import json
import sys
import time

import faiss
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.backbones.timms_lite import timms_lite


class Pictures(Dataset[Tensor]):
    """JPEG files, decoded, resized and normalised one by one."""

    def __init__(self, paths: list[str], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        picture = Image.open(self.paths[index]).convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        return (torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5


class ReleasedLoop:
    """One epoch of adaptation, and one evaluation, of EfficientNet-Lite0. first: first trained stage."""

    def __init__(self, train: list[str], test: list[str], size: int, first: int) -> None:
        self.network = timms_lite(0)
        self.trained: list[nn.Parameter] = []
        for part in (*self.network.blocks[first:], self.network.conv_head, self.network.bn2):
            self.trained += list(part.requires_grad_(True).parameters())
        self.train = DataLoader(Pictures(train, size), batch_size=32, shuffle=True, num_workers=2)
        self.gallery = DataLoader(Pictures(train, size), batch_size=32, num_workers=2)
        self.test = DataLoader(Pictures(test, size), batch_size=32, num_workers=2)
        self.optimiser = torch.optim.SGD(self.trained, lr=0.01, momentum=0.9, weight_decay=5e-5)
        self.center = self.features(self.gallery).mean(dim=0)

    def pooled(self, images: Tensor) -> Tensor:
        return self.network.forward_features(images).mean(dim=(2, 3))

    @torch.no_grad()
    def features(self, loader: DataLoader[Tensor]) -> Tensor:
        return torch.cat([self.pooled(images) for images in loader])

    def epoch(self) -> int:
        """Make one pass over the training images and return the number of steps."""
        for images in self.train:
            loss = (self.pooled(images) - self.center).square().mean()
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, 1e-3)
            self.optimiser.step()
        return len(self.train)

    def evaluate(self) -> np.ndarray:
        """Return kNN scores of the test images, the gallery extracted anew."""
        index = faiss.IndexFlatL2(1280)
        index.add(self.features(self.gallery).numpy())
        distances, _ = index.search(self.features(self.test).numpy(), 2)
        return distances.sum(axis=1)


def main() -> None:
    loop = ReleasedLoop(**json.load(sys.stdin))
    began = time.perf_counter()
    steps = loop.epoch()
    trained = time.perf_counter() - began
    loop.evaluate()
    print(json.dumps({"epoch": trained, "steps": steps, "both": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
