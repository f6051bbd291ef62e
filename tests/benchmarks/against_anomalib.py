"""Patch-kNN beside anomalib's PatchCore: same network, same layers, same images, one run.

anomalib is no dependency of this program. It is installed into an environment of its own that also sees this
program's packages, and the comparison is started there:

    python3.11 -m venv beside
    echo "$PWD/.venv/lib/python3.11/site-packages" > beside/lib/python3.11/site-packages/program.pth
    beside/bin/pip install anomalib==2.7.0
    PANDA_DATA=... beside/bin/python -m tests.benchmarks.against_anomalib

Compared is the computing of the method alone: anomalib's own `PatchcoreModel` extracts the features, thins the bank
and makes the maps, without Lightning's trainer, its data loaders, its normalisation of scores and its logging, which
would only add to its time. Both sides get the same decoded images, in memory, 224 px squeezed, of the same seeded
split of the magnetic tiles, and EfficientNet-Lite0 with the bundled weights; decoding is in nobody's time, and
PyTorch's settings are its defaults. Pixels are measured at 224 x 224, tiles without a usable mask left out. The last
line of the output is the result, as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from panda_core.backbones.efficientnet_lite import weights_file
from panda_core.backbones.lite_network import PREPROCESSING, whole_network
from panda_core.config import RunConfig
from panda_core.datasets import ArrayImages, OneClassTask, find_dataset, one_class_task
from panda_core.datasets.io.masks import Masks
from panda_core.errors import UnreadableImage
from panda_core.events import result_of
from panda_core.features.trunk import network_input, squared
from panda_core.metrics import auroc
from panda_core.pixel_metrics import pixel_metrics
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.segment.settings import prepare
from panda_core.segmentation.calibration import fit_calibrated
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.model import PatchModel
from panda_core.segmentation.results import Patches, PatchResult
from panda_core.torchvision_operators import load_timm

SIZE = 224
LAYERS = ("blocks.2", "blocks.4")  # strides 8 and 16: the places of a ResNet's layer2 and layer3
BATCH = 32  # anomalib's default
# As the paper: levels side by side in one bank, zeros at the border. Not as the paper: features are whitened, a
# patch's place counts, and an image's score is the mean of its highest hundredth (AnomalyDINO), since with a bank this
# thin one far patch is chance. Chosen on these tiles.
SET = {"merge": "concat", "border": "zeros", "position": 1.0, "image_score": "part", "top": 0.01}


@dataclasses.dataclass(frozen=True)
class Measured:
    """One side. scores: (M,) of images, maps: float32 (M, SIZE, SIZE), both higher = more anomalous."""

    fit_seconds: float
    predict_seconds: float
    bank_rows: int
    scores: np.ndarray
    maps: np.ndarray


def anomalib_side(train: np.ndarray, test: np.ndarray, *, ratio: float, seed: int) -> Measured:
    """Return what anomalib's PatchCore makes of uint8 images train (N, SIZE, SIZE, 3) and test (M, SIZE, SIZE, 3)."""
    load_timm()  # before anything imports torchvision
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    torch.manual_seed(seed)  # anomalib draws its projection and its first patch from the global generator
    model = PatchcoreModel(layers=list(LAYERS), backbone="tf_efficientnet_lite0", pre_trained=False)
    file = weights_file(0)
    assert file is not None
    weights = whole_network(0, file)[0].state_dict()
    inner = model.feature_extractor.feature_extractor
    inner.load_state_dict({name: weights[name] for name in inner.state_dict()}, strict=True)
    with torch.no_grad():
        inner(network_input(train[:2], PREPROCESSING))  # the first call also plans the convolutions

        began = time.perf_counter()
        model.train()  # here this means: keep the patches; anomalib leaves its network in eval mode
        for batch in _batches(train):
            model(batch)
        model.subsample_embedding(ratio)
        fitted = time.perf_counter()

        model.eval()
        said = [model(batch) for batch in _batches(test)]
        ended = time.perf_counter()
    return Measured(
        fit_seconds=fitted - began,
        predict_seconds=ended - fitted,
        bank_rows=len(model.memory_bank),
        scores=torch.cat([part.pred_score for part in said]).numpy(),
        maps=torch.cat([part.anomaly_map for part in said])[:, 0].numpy(),
    )


def ours(train: np.ndarray, test: np.ndarray, *, ratio: float, seed: int) -> Measured:
    """Return what this project's `patchcore` makes of the same arrays, with a bank of `ratio` of the patches."""
    config = RunConfig(
        dataset=GIVEN_IMAGES,
        recipe="patchcore",
        image_size=SIZE,
        seed=seed,
        set={"levels": ",".join(LAYERS), "coreset": ratio, "bank_rows": 10_000_000, "candidates": 100_000_000, **SET},
    )
    plan = prepare(config, OneClassTask(_images(train), _images(test[:1]), np.zeros(1, np.uint8)))
    model = PatchModel(plan.config, plan.network, plan.levels, plan.device)
    model.patches(list(train[:2]))  # the first call also plans the convolutions

    began = time.perf_counter()
    raw = Patches.joined([model.patches(list(batch)) for batch in _batches_of(train)])
    result_of(fit_calibrated(model, raw, len(train)))
    fitted = time.perf_counter()

    patches = (model.in_space(model.patches(list(batch))) for batch in _batches_of(test))
    said = PatchResult.joined([model.segment(found) for found in patches])
    sigma = float(plan.config.set["sigma"])
    maps = np.stack([full_map(grid, SIZE, sigma) for grid in said.grids])
    ended = time.perf_counter()
    return Measured(
        fit_seconds=fitted - began,
        predict_seconds=ended - fitted,
        bank_rows=sum(len(bank.features) for bank in model.method.banks),
        scores=said.scores,
        maps=maps,
    )


def _images(pixels: np.ndarray) -> ArrayImages:
    return ArrayImages(pixels, [str(row) for row in range(len(pixels))])


def _batches_of(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


SIDES = {"anomalib": anomalib_side, "ours": ours}


def _batches(images: np.ndarray) -> Iterator[torch.Tensor]:
    for batch in _batches_of(images):
        yield network_input(batch, PREPROCESSING)


def figures(side: Measured, is_anomaly: np.ndarray, masks: Masks) -> dict[str, Any]:
    """Return one side's times, in seconds and milliseconds, and its metrics in per cent."""

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for row, values in enumerate(side.maps):
            try:
                mask = masks.load(row)
            except UnreadableImage:  # it marks nothing: no measure of pixels, as in `tiles`
                continue
            if mask is not None:
                large = cv2.resize(mask.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
                yield values, large.astype(bool)

    pixels = pixel_metrics(pairs)
    metrics = {"image_auroc": auroc(side.scores, is_anomaly), "pixel_auroc": pixels.auroc, "aupro": pixels.aupro}
    return {
        "fit_seconds": round(side.fit_seconds, 2),
        "predict_ms_per_image": round(1000 * side.predict_seconds / len(side.maps), 2),
        "bank_rows": side.bank_rows,
        **{name: None if value is None else round(100 * value, 2) for name, value in metrics.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--ratio", type=float, default=0.001, help="share of the training patches kept in the bank")
    parser.add_argument("--seed", type=int, default=0, help="of the split, of the subset and of the bank")
    parser.add_argument("--train-limit", type=int, help="normal training tiles; all by default")
    parser.add_argument("--test-limit", type=int, help="test tiles; all by default")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="in this order")
    given = parser.parse_args()
    root = Path(os.environ.get("PANDA_DATA") or "data")
    dataset = find_dataset("magnetic_tiles")
    splits = dataset.open(root, dataset.classes(root)[0], given.seed)
    task = one_class_task(splits, train_limit=given.train_limit, test_limit=given.test_limit, seed=given.seed)
    assert task.masks is not None
    train, test = (
        np.stack([squared(images.load(row), SIZE, PREPROCESSING) for row in range(len(images))])
        for images in (task.train, task.test)
    )
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("torch", "timm", *(["anomalib"] * ("anomalib" in given.sides)))},
        "train": len(train),
        "test": len(test),
        "ratio": given.ratio,
        "seed": given.seed,
    }
    for name in given.sides:
        side = SIDES[name](train, test, ratio=given.ratio, seed=given.seed)
        result[name] = figures(side, task.is_anomaly, task.masks)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
