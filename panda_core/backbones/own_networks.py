"""Small networks without pretraining, for the baselines that adaptation is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from panda_core.backbones.backbone import Backbone, Loader

if TYPE_CHECKING:
    from panda_core.backbones.network import Network

SIDE = 32  # pixels: that of CIFAR-10, for which DeepSVDD's network was published; PANDA resizes all data sets to it


def _pixels(cut: str, weights: str = "") -> Network:
    from panda_core.backbones import pixels

    return pixels.load(SIDE)


def _lenet(cut: str, weights: str = "") -> Network:
    from panda_core.backbones import lenet

    return lenet.load(bias=False)


def _lenet_bias(cut: str, weights: str = "") -> Network:
    from panda_core.backbones import lenet

    return lenet.load(bias=True)


def _rotnet(cut: str, weights: str = "") -> Network:
    from panda_core.backbones import rotnet

    return rotnet.load()


def _row(key: str, title: str, source: str, lr: float, load: Loader, fixed_size: bool) -> Backbone:
    return Backbone(
        key=key,
        title=title,
        source=source,
        licence="that of this program",
        cut="input",
        cuts=("input",),
        feature_norm="none",
        lr=lr,
        follows_paper=False,
        image_size=SIDE,
        levels=(),
        load=load,
        missing=lambda: None,
        pretrained=False,
        takes=lambda side: side == SIDE or not fixed_size,
    )


_SVDD = "Ruff et al., Deep One-Class Classification, ICML 2018; released code"
OWN_NETWORKS: dict[str, Backbone] = {
    "pixels": _row("pixels", "The pixels themselves, 32 x 32, no network", "none needed", 0.1, _pixels, True),
    "lenet": _row("lenet", "DeepSVDD's LeNet, not pretrained", _SVDD, 1e-4, _lenet, True),
    "lenet_bias": _row("lenet_bias", "DeepSVDD's LeNet with biases, not pretrained", _SVDD, 1e-4, _lenet_bias, True),
    "rotnet": _row("rotnet", "Small residual network, not pretrained", "He et al., CVPR 2016", 0.1, _rotnet, False),
}
