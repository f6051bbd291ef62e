"""Detection on classes that were never trained on, from a few normal references (ResAD). Importing loads no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from panda_core.config import Option, RunConfig


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
        about="Learns how features differ from the nearest normal reference, and recognises that in new classes.",
        source="Yao et al., NeurIPS 2024; ResAD++, arXiv 2509.23741",
        steps=100,
        batch_size=16,
        lr=1e-3,
        options={
            "seen": Option(
                default="",
                help="what is trained on: CLASS@DATASET, separated by commas; CLASS/KIND/KIND@DATASET for some kinds "
                "of anomalies alone (default: the other classes of the data set)",
            ),
            "references": Option(default=4, low=1, high=64, help="normal images of a class that it is compared with"),
            "draw": Option(default=0, low=0, high=1_000_000, help="which references are drawn for the new class"),
            "draws": Option(
                default=1, low=1, high=100, help="so many draws of references are measured, this one first"
            ),
            "residual": Option(
                default="signed",
                choices=("signed", "squared", "none"),
                help="signed: as in the paper; squared: as in ResAD++; none: features as they are, to compare",
            ),
            "anomalies": Option(
                default="auto",
                choices=("auto", "labelled", "drawn", "none"),
                help="what is trained against. auto: labelled ones where it is known where they are, else drawn ones",
            ),
            "seen_limit": Option(
                default=400, low=4, high=1_000_000, help="normal images of each seen class, and as many anomalies"
            ),
            "levels": Option(
                default="",
                help="stages whose maps are used (the deepest three of the network's)",
            ),
            "neighbourhood": Option(
                default=1, low=1, high=9, help="side of the square over which patches are averaged"
            ),
            "blocks": Option(default=4, low=1, high=32, help="coupling blocks of each flow; the released code has 10"),
            "position_width": Option(
                default=32, low=4, high=1024, help="length of the position code, a multiple of 4; released: 256"
            ),
            "chunk": Option(default=8192, low=64, high=1_000_000, help="positions at once in a flow's step"),
            "top": Option(default=0.1, low=0.0, high=1.0, help="share of the positions that make an image's score"),
            "sigma": Option(default=4.0, low=0.0, high=64.0, help="blur of the map, in pixels of an input of side 224"),
            "memory_gb": Option(
                default=2.0, low=0.01, high=1024.0, help="refuse to start if features need more memory"
            ),
        },
    ),
}


def is_generalisation(config: RunConfig) -> bool:
    """Return whether `config` describes a run that generalises to a new class."""
    return config.recipe in GENERALISERS


__all__ = ["GENERALISERS", "Generaliser", "is_generalisation"]
