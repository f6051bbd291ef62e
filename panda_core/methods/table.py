"""Recipes: each is a row (learner, penalty, stop rule), and all share one training loop.

Adding one: a row here, and a file for a learner, penalty or stop rule that does not exist yet.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from panda_core.config import Option, whiten_dims
from panda_core.errors import unknown_name

if TYPE_CHECKING:
    from panda_core.methods.learner import Learner

OWN = "own"  # in place of a scorer's key: the anomaly score that belongs to the recipe itself


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A row of `RECIPES`. What is not said is PANDA's: the compactness loss, kNN, the default network and its space.

    learner: the file of this package whose `LEARNER` adapts. penalty: "none", "ewc" or "l2". stop: "last" (scores of
    the last checkpoint), "ses" (sample-wise) or "alarm" (`panda_core.methods.alarm` ends the run and chooses the
    checkpoint). beside: images needed besides the normal ones, "outliers" or "source" (labelled images of the
    pretraining). steps, lr: defaults; paper_steps, paper_lr: those of the paper, the defaults
    for networks like its own; an `lr` of None is the backbone's. pretrained_lr: in place of all of them where a
    recipe that trains from nothing by default is given a pretrained network.
    evaluations: how many points a curve has by default, besides step 0.
    tuned: defaults of options for networks unlike the paper's, in place of the paper's in `options`.
    backbone, scorer: defaults; `only_backbones`: it works with no others; a scorer may be `OWN`. feature_norm:
    default in place of the backbone's. cut: the only one it works with.
    """

    title: str
    about: str
    source: str
    options: Mapping[str, Option]
    tuned: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)
    learner: str = "compactness"
    penalty: str = "none"
    stop: str = "last"
    beside: str | None = None
    steps: int
    paper_steps: int
    evaluations: int
    batch_size: int = 32
    lr: float | None = None
    paper_lr: float | None = None
    pretrained_lr: float | None = None
    backbone: str = "efficientnet_lite0"
    only_backbones: tuple[str, ...] = ()
    scorer: str = "knn"
    feature_norm: str | None = None
    cut: str | None = None


# Common to every recipe that trains. Values: PANDA's released code (the paper gives batch, clip and length alone).
_TRAINING = {
    "clip": Option(default=1e-3, low=1e-12, high=1e6, help="largest L2 norm of the whole gradient in one step"),
    "momentum": Option(default=0.9, low=0.0, high=0.999, help="momentum of SGD"),
    "weight_decay": Option(default=5e-5, low=0.0, high=1.0, help="weight decay of SGD, added after the clip"),
}
# Common to all recipes.
_SPACE = {
    "whiten_dims": whiten_dims(1024),
    "cache_dtype": Option(
        default="float16", choices=("float16", "float32"), help="number format of the cached trunk activations"
    ),
    "calibrate_on": Option(
        default="held-out",
        choices=("held-out", "train"),
        help="held-out: a tenth of the normal images takes no part in the adaptation and calibrates the threshold; "
        "train: that tenth is adapted on and compared with as well, as in the paper, and the threshold comes out wrong",
    ),
}
_FISHER = {
    "ewc_strength": Option(default=1e4, low=0.0, high=1e12, help="weight of the penalty (10 for bundled networks)"),
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
        steps=0,
        paper_steps=0,
        evaluations=1,
        options=_SPACE,
    ),
    "panda-early": Recipe(
        title="PANDA, early stopping",
        about="Adapt for a fixed, short time and stop before the collapse.",
        source="PANDA, Sec. 3 and App. D",
        steps=80,
        paper_steps=2300,
        evaluations=8,
        options=_SPACE | _TRAINING,
    ),
    "panda-ses": Recipe(
        title="PANDA, sample-wise early stopping",
        about="Adapt longer; every test image is scored at the checkpoint where it stands out most.",
        source="PANDA, Sec. 3 and App. D",
        stop="ses",
        steps=160,
        paper_steps=4700,
        evaluations=8,
        options=_SPACE | _TRAINING | _SES,
    ),
    "panda-alarm": Recipe(
        title="PANDA, stopped by the alarm",
        about="Adapt until normal images lose their neighbours, then ask the network before and after.",
        source="PANDA, Sec. 3, with a stop rule of this project",
        stop="alarm",
        steps=160,
        paper_steps=7800,
        evaluations=20,
        options=_SPACE | _TRAINING,
    ),
    "panda-ewc": Recipe(
        title="PANDA, elastic weights (EWC)",
        about="Adapt long, but hold the weights that ImageNet needs near their pretrained values.",
        source="PANDA, Sec. 3; Kirkpatrick et al., PNAS 2017",
        penalty="ewc",
        steps=160,
        paper_steps=7800,
        evaluations=8,
        options=_SPACE | _TRAINING | _FISHER,
        # Airplane, 1,000 train images at 128 px: 91.08 unadapted, 91.19 at the paper's 1e4, which hardly lets the
        # weights of EfficientNet-Lite0 move, 91.43 at 100, 91.81 at 10, and 91.96 with nothing to hold them.
        tuned={"ewc_strength": 10.0},
    ),
    "panda-l2": Recipe(
        title="PANDA, all weights equally elastic",
        about="As EWC with every weight held alike; the paper's ablation.",
        source="PANDA, Sec. 4.2.2",
        penalty="l2",
        steps=160,
        paper_steps=7800,
        evaluations=8,
        options=_SPACE
        | _TRAINING
        | {"l2_strength": Option(default=1.0, low=0.0, high=1e12, help="weight of the penalty (not in the paper)")},
    ),
    "panda-oe": Recipe(
        title="PANDA, outlier exposure",
        about="Adapt by telling the normal images from any other images, such as photographs of everything.",
        source="PANDA, Sec. 3 and App. D; released code",
        learner="outlier_exposure",
        beside="outliers",
        steps=80,
        paper_steps=7850,
        evaluations=8,
        lr=0.1,
        paper_lr=0.1,
        scorer=OWN,
        options=_SPACE
        | {
            "clip": _TRAINING["clip"],
            "momentum": _TRAINING["momentum"],
            "weight_decay": dataclasses.replace(_TRAINING["weight_decay"], default=0.0),
            "outliers": Option(
                default="imagenet_sample",
                help="images that are not normal: imagenet_sample, a folder, or the key of another data set",
            ),
            "outlier_detail": Option(
                default="match",
                choices=("match", "full"),
                help="match: outliers are first shrunk to the size of normal images that are smaller than the "
                "network's input, or else blur alone tells the two apart; full: as they are",
            ),
        },
    ),
    "joint": Recipe(
        title="Joint optimisation",
        about="Adapt while the network goes on classifying labelled ImageNet images, so that it forgets less.",
        source="PANDA, Eq. 2; Perera & Patel, IEEE TIP 2019",
        learner="joint",
        beside="source",
        steps=160,
        paper_steps=2300,
        evaluations=8,
        options=_SPACE
        | _TRAINING
        | {
            "alpha": Option(
                default=1.0, low=0.0, high=1e9, help="weight of the compactness loss beside the classification"
            )
        },
    ),
    "msc": Recipe(
        title="Mean-shifted contrastive",
        about="Adapt by contrasting random views of the normal images around their centre.",
        source="Reiss & Hoshen, Mean-Shifted Contrastive Loss, AAAI 2023; released code",
        learner="mean_shifted",
        steps=12,
        paper_steps=1580,
        evaluations=6,
        batch_size=64,
        lr=0.01,  # automobile, deer, truck at 64 px: 85.5 unadapted, 86.5 after 12 steps; 0.001 and 0.003 gain less
        paper_lr=1e-5,
        feature_norm="l2",
        options=_SPACE
        | {
            "momentum": dataclasses.replace(_TRAINING["momentum"], default=0.0),
            "weight_decay": _TRAINING["weight_decay"],
            "temperature": Option(default=0.25, low=1e-3, high=100.0, help="temperature of the contrastive loss"),
            "angular": Option(
                default="no", choices=("no", "yes"), help="add the pull towards the centre, as the code can"
            ),
            "views": Option(
                default="fresh",
                choices=("fresh", "2", "4", "8", "16"),
                help="fresh: two new random views of every image in every step, as published; a number: so many views "
                "of each image, made once, which is faster and not the published method",
            ),
        },
    ),
    "ocsvm": Recipe(
        title="One-class SVM",
        about="No network: a boundary around the pixels of the normal images.",
        source="Schoelkopf et al., Neural Computation 2001; PANDA, Table 1",
        steps=0,
        paper_steps=0,
        evaluations=1,
        backbone="pixels",
        scorer="ocsvm",
        feature_norm="none",
        options=_SPACE
        | {
            "svm_grid": Option(
                default="none",
                choices=("none", "oracle"),
                help="oracle: report besides the best AUROC of the paper's grid over nu and gamma, chosen with the "
                "labels of the test images, which no method may do; the scores stay those of the fixed setting",
                needs={"scorer": ("ocsvm",)},
            )
        },
    ),
    "deep-svdd": Recipe(
        title="DeepSVDD",
        about="Train a small network from nothing to map normal images into a small ball.",
        source="Ruff et al., Deep One-Class Classification, ICML 2018; released code",
        learner="deep_svdd",
        steps=100,
        paper_steps=3750,
        evaluations=4,
        batch_size=200,
        lr=1e-4,
        paper_lr=1e-4,
        backbone="lenet",
        only_backbones=("lenet", "lenet_bias"),
        scorer=OWN,
        feature_norm="none",
        options=_SPACE
        | {
            "weight_decay": dataclasses.replace(_TRAINING["weight_decay"], default=5e-7, help="weight decay of Adam"),
            "ae_epochs": Option(
                default=10,
                low=0,
                high=10_000,
                help="epochs of the autoencoder that comes first; 350 as published, fewer for two cores",
            ),
            "objective": Option(
                default="one-class",
                choices=("one-class", "soft-boundary"),
                help="one-class: all distances to the centre; soft-boundary: those outside of a ball",
            ),
            "nu": Option(
                default=0.1,
                low=1e-3,
                high=1.0,
                help="share of the images outside of the soft ball",
                needs={"objective": ("soft-boundary",)},
            ),
            "warm_up": Option(
                default=0.067,
                low=0.0,
                high=1.0,
                help="share of the steps in which the soft ball has radius 0 (10 of 150 epochs)",
                needs={"objective": ("soft-boundary",)},
            ),
        },
    ),
    "mhrot": Recipe(
        title="MHRot",
        about="Train a network to tell how normal images were turned and shifted; anomalies are told badly.",
        source="Hendrycks et al., NeurIPS 2019; released code for ImageNet",
        learner="mhrot",
        steps=300,
        paper_steps=915,
        evaluations=2,
        pretrained_lr=5e-4,  # with statistics that stay, and no clip, the weights of EfficientNet-Lite burst at 1e-2
        backbone="rotnet",
        scorer=OWN,
        feature_norm="none",
        cut="input",
        options=_SPACE
        | {
            "momentum": dataclasses.replace(_TRAINING["momentum"], help="Nesterov momentum of SGD"),
            "weight_decay": dataclasses.replace(_TRAINING["weight_decay"], default=5e-4, help="weight decay of SGD"),
            "mhrot_score": Option(
                default="classify",
                choices=("classify", "knn", "knn-difference"),
                help="classify: how badly 36 views are told; knn: distance to normal images in the same view; "
                "knn-difference: that minus the distance to normal images in other views",
                needs={"scorer": (OWN,)},
            ),
            "gallery_images": Option(
                default=500,
                low=1,
                high=100_000,
                help="normal images that are compared with, for the two kNN scores",
                needs={"mhrot_score": ("knn", "knn-difference")},
            ),
        },
    ),
}


def find_learner(key: str) -> type[Learner]:
    """Return the learner of the recipe called `key`. Imports torch."""
    module = importlib.import_module(f"panda_core.methods.table.{find_recipe(key).learner}")
    learner: type[Learner] = module.LEARNER
    return learner


def find_recipe(key: str) -> Recipe:
    """Return the row called `key`; an unknown name raises `UsageError`."""
    if key not in RECIPES:
        raise unknown_name("recipe", key, RECIPES, "--recipe")
    return RECIPES[key]
