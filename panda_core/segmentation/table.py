"""Where the defect is: distances of patches to normal patches, as maps. Higher = more anomalous.

Each a row of `SEGMENTERS`; adding one: a file of this package with a class like `PatchCore`, called
`METHOD` at its end, and a row here that names the file. Importing this table loads no torch.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from panda_core.config import Option, whiten_dims

if TYPE_CHECKING:
    from panda_core.segmentation.method import PatchMethod


@dataclasses.dataclass(frozen=True)
class Segmenter:
    """A row of `SEGMENTERS`. It is named where a recipe is: a segmentation run adapts nothing.

    method: the file of this package whose `METHOD` compares patches.
    feature_norm: default in place of the backbone's.
    levels: how many of the network's own levels are compared, the deepest ones; None: all.
    unwhitened: why it takes no whitened patches, after "Recipe X"; "" where it does.
    """

    title: str
    about: str
    source: str
    method: str
    options: Mapping[str, Option]
    feature_norm: str | None = None
    levels: int | None = None
    unwhitened: str = ""


BLUR = Option(  # of every run that has maps
    default=4.0,
    low=0.0,
    high=64.0,
    help="blur of the map, in pixels of an input of side 224",
    plain="How much the finished map is blurred, in pixels of an image of 224 pixels.",
)
_PATCHES = {
    "levels": Option(
        default="",
        help="stages whose maps are compared, for instance blocks.4,blocks.5 (the network's)",
        plain="Stages of the network whose maps are compared, separated by commas. Left empty, the network's own.",
    ),
    "neighbourhood": Option(
        default=3,
        low=1,
        high=9,
        help="side of the square over which patches are averaged",
        plain="Side of the square of neighbours over which each patch is averaged; an odd number.",
    ),
    "border": Option(
        default="inside",
        choices=("inside", "zeros"),
        help="what patches at the border are averaged over: places inside the image, or zeros as well, as in the paper",
        plain="What patches at the border are averaged over: only places inside the image, or zeros "
        "outside of it too, as the paper's code does.",
        needs={"neighbourhood": ("3", "5", "7", "9")},
    ),
    "whiten_dims": whiten_dims(512),
    "sigma": BLUR,
    "memory_gb": Option(
        default=2.0,
        low=0.01,
        high=1024.0,
        help="refuse to start if the patches need more memory",
        plain="The run refuses to start if its patches need more memory than this, in gigabytes.",
    ),
    "adapted": Option(
        default="",
        help="run whose adapted network is used instead of the pretrained one",
        plain="The network whose features are compared: as pretrained on ImageNet, or as one of your runs adapted it.",
    ),
    "checkpoint": Option(
        default="last",
        help="step of that run: a number, last, or all (a map for each)",
        plain="The last checkpoint of that run, or all of them in turn, to see the maps change while it adapts.",
    ),
}

_ALONE = dataclasses.replace(_PATCHES["neighbourhood"], default=1)
_ROTATIONS = Option(
    default=1,
    low=1,
    high=8,
    help="turned copies of each normal image: 1, 2, 4 or 8",
    plain="Turned copies of each normal image that are learned as well: 1, 2, 4 or 8.",
)
_HUNDREDTH = Option(
    default=0.01,
    low=0.0,
    high=1.0,
    help="share of the patches that count as the highest; 0: one alone",
    plain="The share of the patches that count as the hottest of an image. 0 takes one alone.",
)

SEGMENTERS: dict[str, Segmenter] = {
    "patchcore": Segmenter(
        title="PatchCore",
        about="Every patch is compared with one bank of normal patches, thinned to those that cover the rest.",
        source="Roth et al., CVPR 2022",
        method="patchcore",
        options=_PATCHES
        | {
            "merge": Option(
                default="separate",
                choices=("separate", "concat"),
                help="separate: a bank and a map for each level; concat: levels side by side, as in the paper",
                plain="*separate* compares each level with a bank of its own; *concat* joins the levels, as in the "
                "paper.",
            ),
            "coreset": Option(
                default=0.1,
                low=1e-6,
                high=1.0,
                help="share of the normal patches that is kept",
                plain="The share of the normal patches that is kept: those that best cover the others.",
            ),
            "bank_rows": Option(
                default=5000,
                low=1,
                high=10_000_000,
                help="largest number of patches kept",
                plain="The largest number of normal patches that is kept.",
            ),
            "candidates": Option(
                default=20_000,
                low=1,
                high=100_000_000,
                help="patches, drawn at random, among which the kept are chosen",
                plain="Among how many patches, drawn at random, the kept ones are chosen.",
            ),
            "exact_rows": Option(
                default=200_000,
                low=1,
                high=100_000_000,
                help="above so many patches the search is approximate",
                plain="Above so many normal patches the search becomes approximate, and faster.",
            ),
            "image_score": Option(
                default="part-or-whole",
                choices=("part-or-whole", "part"),
                help="part: the mean of the highest patches; part-or-whole: that, or the mean of all patches where "
                "it stands out more among held-out normal images",
                plain="*part*: the mean of the hottest patches. *part-or-whole*: that, or the mean of all patches "
                "where it stands out more among held-out normal images.",
            ),
            "top": Option(
                default=0.1,
                low=0.0,
                high=1.0,
                help="share of the patches that count as the highest; 0: one alone",
                plain="The share of the patches that count as the hottest of an image. 0 takes one alone.",
            ),
            "reweight": Option(
                default=0,
                low=0,
                high=1000,
                help="neighbours for the paper's re-weighting of the highest; 0: off",
                plain="Number of neighbours for the paper's re-weighting of the hottest patch; 0 turns it off.",
            ),
            "position": Option(
                default=0.0,
                low=0.0,
                high=100.0,
                help="how much a patch's place counts, relative to its features",
                plain="How much the place of a patch counts beside its look: more where all images are aligned alike.",
            ),
            "rotations": _ROTATIONS,
        },
    ),
    "spade": Segmenter(
        title="SPADE",
        about="The most similar normal images are found first; patches are compared with theirs alone.",
        source="Cohen & Hoshen 2020; PANDA's own segmentation",
        method="spade",
        options=_PATCHES
        | {
            "nearest_images": Option(
                default=50,
                low=1,
                high=10_000,
                help="how many similar images are compared with",
                plain="With how many of the most similar normal images the patches are compared.",
            )
        },
    ),
    "anomalydino": Segmenter(
        title="AnomalyDINO",
        about="Every patch of one late level is compared with the patches of a few normal images and turned copies.",
        source="Damm et al., WACV 2025",
        method="anomalydino",
        feature_norm="none",
        levels=1,
        options=_PATCHES
        | {
            "neighbourhood": _ALONE,
            "bank_rows": Option(
                default=50_000,
                low=1,
                high=10_000_000,
                help="largest number of normal patches kept, drawn at random",
                plain="The largest number of normal patches that is kept, drawn at random where there are more.",
            ),
            "top": _HUNDREDTH,
            "rotations": dataclasses.replace(_ROTATIONS, default=8),
        },
    ),
    "subspacead": Segmenter(
        title="SubspaceAD",
        about="Every patch is scored by what the main directions of the normal patches leave over of it.",
        source="Lendering et al., CVPR 2026",
        method="subspacead",
        feature_norm="l2",
        unwhitened="finds the directions in which normal patches vary",
        options={key: option for key, option in _PATCHES.items() if key != "whiten_dims"}
        | {
            "neighbourhood": _ALONE,
            "merge": Option(
                default="separate",
                choices=("separate", "concat", "mean"),
                help="separate: a subspace and a map for each level; concat: levels side by side; mean: their mean, as "
                "in the paper, of levels equally wide",
                plain="*separate* gives each level a subspace of its own; *concat* joins the levels; *mean* takes "
                "their mean, as in the paper, where all are equally wide.",
            ),
            "variance": Option(
                default=0.99,
                low=0.01,
                high=1.0,
                help="share of the normal patches' variance that the subspace holds",
                plain="The share of normal patches' variation that counts as explained; the rest is the score.",
            ),
            "top": _HUNDREDTH,
            "rotations": _ROTATIONS,
        },
    ),
}


def find_method(key: str) -> type[PatchMethod]:
    """Return the class of the row called `key`. Imports torch."""
    module = importlib.import_module(f"panda_core.segmentation.{SEGMENTERS[key].method}")
    method: type[PatchMethod] = module.METHOD
    return method
