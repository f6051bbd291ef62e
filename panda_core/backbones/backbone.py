"""What is known of a network without loading it: its row in the table of backbones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from panda_core.config import Option
from panda_core.region import Region

if TYPE_CHECKING:
    from panda_core.backbones.network import Network


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input; it belongs to the weights.

    mean, std: of the three channels in [0, 1]. crop: the side of the center crop over the side before it; with 1
    the whole image is squeezed into the square and nothing is cut off. region: of the run that the network is loaded
    for, what of an image counts; None: all of it.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop: float
    region: Region | None = None


WEIGHTS = Option(
    default="",
    help="file of this network's weights, .safetensors, in place of those that come with it or are downloaded",
    plain="A `.safetensors` file of this network's weights, used in place of those that come with it. Names and shapes "
    "must be the network's own, and its SHA-256 belongs to the run. Half precision is computed in float32.",
)


class Loader(Protocol):
    """(cut stage, "PATH#sha256=HEX" of a file of weights or "") -> a loaded network."""

    def __call__(self, cut: str, weights: str = "") -> Network: ...


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A row of `BACKBONES`: where a network comes from and how it is adapted by default.

    load: (cut stage, file of weights) -> Network. missing: None where the weights are here, else what to do.
    cuts: the names at which it can be cut; the trunk ends with that stage, `cut` is the default.
    feature_norm, lr, follows_paper: the defaults that measure best for it, or, for networks like the paper's,
    the paper's own. image_size: the input side of its pretraining, or None to use the dataset's.
    levels: the stages whose maps are compared patch by patch unless the user names others; empty: it has no maps.
    pretrained: whether it knows other images; one that does not is trained from random numbers and has no maps.
    takes: whether it takes images of a side in pixels.
    """

    key: str
    title: str
    source: str
    licence: str
    cut: str
    cuts: tuple[str, ...]
    feature_norm: str
    lr: float
    follows_paper: bool
    image_size: int | None
    levels: tuple[str, ...]
    load: Loader
    missing: Callable[[], str | None]
    pretrained: bool = True
    takes: Callable[[int], bool] = lambda side: True

    @property
    def options(self) -> Mapping[str, Option]:
        """The `--set` options of every backbone."""
        cut = Option(
            default=self.cut,
            help="stage with which the frozen trunk ends; later stages are adapted",
            plain="The stage at which the frozen part ends. Stages after it are adapted.",
            choices=self.cuts,
        )
        return {"cut": cut, "weights": WEIGHTS} if self.pretrained else {"cut": cut}
