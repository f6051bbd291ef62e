"""Detection on classes that were never trained on, from a few normal references (ResAD). Importing loads no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from panda_core.config import Option
from panda_core.segmentation.table import BLUR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generaliser:
    """A row of `GENERALISERS`. It is named where a recipe is. steps, batch_size, lr: defaults, ours."""

    title: str
    about: str
    source: str
    steps: int
    batch_size: int
    lr: float
    options: Mapping[str, Option]


GENERALISERS: dict[str, Generaliser] = {
    "resad": Generaliser(
        title="ResAD",
        about="Learns how features differ from the nearest normal reference, and recognises that in new classes. "
        "Where it was measured, training adds less than a point of AUROC to the lengths of these differences.",
        source="Yao et al., NeurIPS 2024; ResAD++, arXiv 2509.23741",
        steps=100,
        batch_size=16,
        lr=1e-3,
        options={
            "seen": Option(
                default="",
                help="what is trained on: CLASS@DATASET, separated by commas; CLASS/KIND/KIND@DATASET for some kinds "
                "of anomalies alone (default: the other classes of the data set)",
                plain="What is trained on: `CLASS@DATASET`, separated by commas, for instance `mono@elpv`; "
                "`CLASS/KIND@DATASET` for one kind of anomaly alone. Left empty, other classes of the same "
                "data set. Nothing of it is tested on.",
            ),
            "references": Option(
                default=4,
                low=1,
                high=64,
                help="normal images of a class that it is compared with",
                plain="How many normal images of a class it is compared with. More help; 4 are usual.",
            ),
            "draw": Option(
                default=0,
                low=0,
                high=1_000_000,
                help="which references are drawn for the new class",
                plain="Which references of the new class are drawn: another number, other images.",
            ),
            "draws": Option(
                default=1,
                low=1,
                high=100,
                help="so many draws of references are measured, this one first",
                plain="Over how many draws of references the result is measured. The maps are those of the first.",
            ),
            "residual": Option(
                default="signed",
                choices=("signed", "squared", "none"),
                help="signed: as in the paper; squared: as in ResAD++; none: features as they are, to compare",
                plain="What is left of a feature at its nearest reference. *signed*: the difference, as in ResAD; "
                "*squared*: its square, as in ResAD++; *none*: the feature itself, for comparison, which "
                "does not carry over to new classes.",
            ),
            "anomalies": Option(
                default="auto",
                choices=("auto", "labelled", "drawn", "none"),
                help="what is trained against. auto: labelled ones where it is known where they are, else drawn ones",
                plain="What the seen classes' normal images are told apart from. *labelled*: anomalies of the data "
                "set whose place is known; *drawn*: defects drawn into normal images; *auto*: the first "
                "where there are any, else the second.",
            ),
            "seen_limit": Option(
                default=400,
                low=4,
                high=1_000_000,
                help="normal images of each seen class, and as many anomalies",
                plain="At most so many normal images of each seen class, and as many anomalies.",
            ),
            "levels": Option(
                default="",
                help="stages whose maps are used (the deepest three of the network's)",
                plain="Stages of the network whose maps are compared, separated by commas. Left empty, the "
                "network's own.",
            ),
            "neighbourhood": Option(
                default=1,
                low=1,
                high=9,
                help="side of the square over which patches are averaged",
                plain="Side of the square of neighbours over which each patch is averaged; an odd number.",
            ),
            "blocks": Option(
                default=4,
                low=1,
                high=32,
                help="coupling blocks of each flow; the released code has 10",
                plain="How deep the model of likelihoods is: coupling blocks of each level's flow.",
            ),
            "position_width": Option(
                default=32,
                low=4,
                high=1024,
                help="length of the position code, a multiple of 4; released: 256",
                plain="How finely the place in the image is told to the flow: length of its code.",
            ),
            "chunk": Option(
                default=8192,
                low=64,
                high=1_000_000,
                help="positions at once in a flow's step",
                plain="How many places a flow sees at once. Smaller makes more, noisier steps.",
            ),
            "top": Option(
                default=0.1,
                low=0.0,
                high=1.0,
                help="share of the positions that make an image's score",
                plain="The share of the places that count as the hottest of an image. 0 takes one alone.",
            ),
            "sigma": BLUR,
            "memory_gb": Option(
                default=2.0,
                low=0.01,
                high=1024.0,
                help="refuse to start if features need more memory",
                plain="The run refuses to start if its features need more memory than this, in gigabytes.",
            ),
        },
    ),
}
