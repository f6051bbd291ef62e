"""Options of the recipes: what `--set` changes, each in the words of the command and in plain ones."""

from __future__ import annotations

import dataclasses

from panda_core.config import Option, whiten_dims

OWN = "own"  # in place of a scorer's key: the anomaly score that belongs to the recipe itself

# Common to every recipe that trains. Values: PANDA's released code (the paper gives batch, clip and length alone).
TRAINING = {
    "clip": Option(
        default=1e-3,
        low=1e-12,
        high=1e6,
        help="largest L2 norm of the whole gradient in one step",
        plain="Upper limit for the size of one change of the weights, before the learning rate is applied.",
    ),
    "momentum": Option(
        default=0.9,
        low=0.0,
        high=0.999,
        help="momentum of SGD",
        plain="How much of the previous change is carried over into the next one.",
    ),
    "weight_decay": Option(
        default=5e-5,
        low=0.0,
        high=1.0,
        help="weight decay of SGD, added after the clip",
        plain="How strongly all weights are pulled towards zero at each step.",
    ),
    "precision": Option(
        default="float32",
        choices=("float32", "bfloat16"),
        help="number format in which the adapted stages are trained; bfloat16 is for GPUs that have it; weights, "
        "losses and what is measured stay float32: rounding alone would look like a collapse",
        plain="How precisely the adapted stages compute while they are trained: *bfloat16* is for graphics cards. "
        "What is measured is always computed in *float32*.",
    ),
}
# Common to all recipes.
SPACE = {
    "whiten_dims": whiten_dims(1024),
    "cache_dtype": Option(
        default="float16",
        choices=("float16", "float32"),
        help="number format of the cached trunk activations",
        plain="How precisely the activations of the frozen stages are stored: *float16* takes half the space.",
    ),
    "calibrate_on": Option(
        default="held-out",
        choices=("held-out", "train"),
        help="held-out: images that take no part in the adaptation calibrate the threshold, a tenth of the "
        "normal ones or, of few, up to half; "
        "train: they are adapted on and compared with as well, as in the paper, and the threshold comes out wrong",
        plain="Which images set the threshold. *held-out*: normal images that the network is not adapted on, a "
        "tenth of them or, of few, up to half. *train*: these are adapted on as well, as in the paper; the "
        "threshold then comes out too low.",
    ),
}
FISHER = {
    "ewc_strength": Option(
        default=1e4,
        low=0.0,
        high=1e12,
        help="weight of the penalty (10 for bundled networks)",
        plain="How firmly the weights that matter for ImageNet are held at their pretrained values.",
    ),
    "fisher_images": Option(
        default=500,
        low=1,
        high=100_000,
        help="images from which the Fisher diagonal is taken",
        plain="From how many images it is estimated which weights matter (the Fisher information).",
    ),
}
SES = {
    "ses": Option(
        default="B",
        choices=("A", "B"),
        help="what a checkpoint's scores are divided by: A the mean compactness loss of the training images (Sec. 3), "
        "B the mean score of held-out normal images (App. D)",
        plain="What the scores of a checkpoint are divided by, so that checkpoints compare: *A* the spread "
        "of the training images, *B* the scores of held-out normal images.",
    ),
    "ses_start": Option(
        default="exclude",
        choices=("exclude", "include"),
        help="whether the unadapted network is a checkpoint too",
        plain="Whether the unadapted network may be chosen for an image as well.",
    ),
}
L2 = {
    "l2_strength": Option(
        default=1.0,
        low=0.0,
        high=1e12,
        help="weight of the penalty (not in the paper)",
        plain="How firmly every weight is held at its pretrained value.",
    )
}
OUTLIERS = {
    "clip": TRAINING["clip"],
    "precision": TRAINING["precision"],
    "momentum": TRAINING["momentum"],
    "weight_decay": dataclasses.replace(TRAINING["weight_decay"], default=0.0),
    "outliers": Option(
        default="imagenet_sample",
        help="images that are not normal: imagenet_sample, a folder, or the key of another data set",
        plain="Images that are not normal, to adapt against: *imagenet_sample* below the data folder, the "
        "path of a folder, or the name of another data set. They need not look like the anomalies.",
    ),
    "outlier_detail": Option(
        default="match",
        choices=("match", "full"),
        help="match: outliers are first shrunk to the size of normal images that are smaller than the "
        "network's input, or else blur alone tells the two apart; full: as they are",
        plain="*match*: outliers are first shrunk to the size of the normal images where these are small, "
        "or else the network only learns to tell blurred from sharp. *full*: outliers are used as "
        "they are.",
    ),
}
JOINT = {
    "alpha": Option(
        default=1.0,
        low=0.0,
        high=1e9,
        help="weight of the compactness loss beside the classification",
        plain="How much contracting the normal images weighs beside classifying ImageNet.",
    )
}
CONTRASTIVE = {
    "precision": TRAINING["precision"],
    "momentum": dataclasses.replace(TRAINING["momentum"], default=0.0),
    "weight_decay": TRAINING["weight_decay"],
    "temperature": Option(
        default=0.25,
        low=1e-3,
        high=100.0,
        help="temperature of the contrastive loss",
        plain="How sharply views are told apart: a small value looks at the nearest ones only.",
    ),
    "angular": Option(
        default="no",
        choices=("no", "yes"),
        help="add the pull towards the center, as the code can",
        plain="Whether features are also pulled towards their center, as the released code can do.",
    ),
    "views": Option(
        default="fresh",
        choices=("fresh", "2", "4", "8", "16"),
        help="fresh: two new random views of every image in every step, as published; a number: so many views "
        "of each image, made once, which is faster and not the published method",
        plain="*fresh*: every step makes two new random views of each image, as published. A number: each "
        "image has that many views, made once; faster, but not the published method.",
    ),
}
SVM_GRID = {
    "svm_grid": Option(
        default="none",
        choices=("none", "oracle"),
        help="oracle: report besides the best AUROC of the paper's grid over nu and gamma, chosen with the "
        "labels of the test images, which no method may do; the scores stay those of the fixed setting",
        plain="*oracle*: the best result of the paper's grid of settings is reported as well. The labels "
        "of the test images choose it, which no method may do: it is a limit, not a result.",
        needs={"scorer": ("ocsvm",)},
    )
}
SVDD = {
    "weight_decay": dataclasses.replace(TRAINING["weight_decay"], default=5e-7, help="weight decay of Adam"),
    "ae_epochs": Option(
        default=10,
        low=0,
        high=10_000,
        help="epochs of the autoencoder that comes first; 350 as published, fewer for two cores",
        plain="How often the autoencoder that prepares the network sees every normal image.",
    ),
    "objective": Option(
        default="one-class",
        choices=("one-class", "soft-boundary"),
        help="one-class: all distances to the center; soft-boundary: those outside of a ball",
        plain="*one-class* pulls all normal images to the center; *soft-boundary* only those outside of a "
        "ball around it.",
    ),
    "nu": Option(
        default=0.1,
        low=1e-3,
        high=1.0,
        help="share of the images outside of the soft ball",
        plain="The share of the normal images that may stay outside of the ball.",
        needs={"objective": ("soft-boundary",)},
    ),
    "warm_up": Option(
        default=0.067,
        low=0.0,
        high=1.0,
        help="share of the steps in which the soft ball has radius 0 (10 of 150 epochs)",
        plain="The share of the steps before the ball around the center gets a size.",
        needs={"objective": ("soft-boundary",)},
    ),
}
MHROT = {
    "momentum": dataclasses.replace(TRAINING["momentum"], help="Nesterov momentum of SGD"),
    "weight_decay": dataclasses.replace(TRAINING["weight_decay"], default=5e-4, help="weight decay of SGD"),
    "mhrot_score": Option(
        default="classify",
        choices=("classify", "knn", "knn-difference"),
        help="classify: how badly 36 views are told; knn: distance to normal images in the same view; "
        "knn-difference: that minus the distance to normal images in other views",
        plain="*classify*: how badly the network tells 36 turned and shifted views of the image. *knn*: "
        "how far the views are from the same views of normal images; *knn-difference* compares that "
        "with the other views.",
        needs={"scorer": (OWN,)},
    ),
    "gallery_images": Option(
        default=500,
        low=1,
        high=100_000,
        help="normal images that are compared with, for the two kNN scores",
        plain="With how many normal images the views are compared, for the two *knn* scores.",
        needs={"mhrot_score": ("knn", "knn-difference")},
    ),
}
