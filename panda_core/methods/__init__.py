"""Recipes: each is a row (learner, penalty, stop rule), and all share one training loop.

Adding one: a row here, and a file for a learner, penalty or stop rule that does not exist yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from panda_core.config import Option
from panda_core.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A row of `RECIPES`.

    penalty: "none", "ewc" or "l2". stop: "last" (scores of the last checkpoint) or "ses" (sample-wise).
    steps: optimiser steps by default; paper_steps: those of the paper, the default for networks like its own.
    evaluations: how many points a curve has by default, besides step 0.
    """

    title: str
    about: str
    source: str
    penalty: str
    stop: str
    steps: int
    paper_steps: int
    evaluations: int
    options: Mapping[str, Option]


# Common to every recipe that trains. Values: PANDA's released code (the paper gives batch, clip and length alone).
_TRAINING = {
    "clip": Option(default=1e-3, low=1e-12, high=1e6, help="largest L2 norm of the whole gradient in one step"),
    "momentum": Option(default=0.9, low=0.0, high=0.999, help="momentum of SGD"),
    "weight_decay": Option(default=5e-5, low=0.0, high=1.0, help="weight decay of SGD, added after the clip"),
}
# Common to all recipes.
_SPACE = {
    "whiten_dims": Option(default=1024, low=1, high=4096, help="largest number of directions kept by whitening"),
    "cache_dtype": Option(
        default="float16", choices=("float16", "float32"), help="number format of the cached trunk activations"
    ),
    "calibrate_on": Option(
        default="held-out",
        choices=("held-out", "train"),
        help="held-out: a tenth of the normal images takes no part in the adaptation and calibrates the threshold; "
        "train: that tenth is adapted on as well, as in the paper, and the threshold comes out too low",
    ),
}
_FISHER = {
    "ewc_strength": Option(default=1e4, low=0.0, high=1e12, help="weight of the elastic penalty (lambda)"),
    "fisher_images": Option(default=500, low=1, high=100_000, help="images from which the Fisher diagonal is taken"),
}
_SES = {
    "ses": Option(
        default="B",
        choices=("A", "B"),
        help="what a checkpoint's scores are divided by: A the mean compactness loss of the training images (Sec. 3), "
        "B the mean score of held-out normal images (App. D)",
    ),
    "ses_start": Option(
        default="exclude", choices=("exclude", "include"), help="whether the unadapted network is a checkpoint too"
    ),
}

RECIPES: dict[str, Recipe] = {
    "frozen": Recipe(
        title="No adaptation",
        about="The pretrained features as they are: the baseline of every curve.",
        source="DN2; PANDA, Table 1 'unadapted'",
        penalty="none",
        stop="last",
        steps=0,
        paper_steps=0,
        evaluations=1,
        options=_SPACE,
    ),
    "panda-early": Recipe(
        title="PANDA, early stopping",
        about="Adapt for a fixed, short time and stop before the collapse.",
        source="PANDA, Sec. 3 and App. D",
        penalty="none",
        stop="last",
        steps=80,
        paper_steps=2300,
        evaluations=8,
        options=_SPACE | _TRAINING,
    ),
    "panda-ses": Recipe(
        title="PANDA, sample-wise early stopping",
        about="Adapt longer; every test image is scored at the checkpoint where it stands out most.",
        source="PANDA, Sec. 3 and App. D",
        penalty="none",
        stop="ses",
        steps=160,
        paper_steps=4700,
        evaluations=8,
        options=_SPACE | _TRAINING | _SES,
    ),
    "panda-ewc": Recipe(
        title="PANDA, elastic weights (EWC)",
        about="Adapt long, but hold the weights that ImageNet needs near their pretrained values.",
        source="PANDA, Sec. 3; Kirkpatrick et al., PNAS 2017",
        penalty="ewc",
        stop="last",
        steps=160,
        paper_steps=7800,
        evaluations=8,
        options=_SPACE | _TRAINING | _FISHER,
    ),
    "panda-l2": Recipe(
        title="PANDA, all weights equally elastic",
        about="As EWC with every weight held alike; the paper's ablation.",
        source="PANDA, Sec. 4.2.2",
        penalty="l2",
        stop="last",
        steps=160,
        paper_steps=7800,
        evaluations=8,
        options=_SPACE
        | _TRAINING
        | {"l2_strength": Option(default=1.0, low=0.0, high=1e12, help="weight of the penalty (not in the paper)")},
    ),
}


def find_recipe(key: str) -> Recipe:
    """Return the row called `key`; an unknown name raises `UsageError`."""
    if key not in RECIPES:
        raise unknown_name("recipe", key, RECIPES, "--recipe")
    return RECIPES[key]
