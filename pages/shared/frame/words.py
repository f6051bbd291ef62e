"""The words of this program, each with one meaning; and the words that it does not use, for the same things.

Tooltips say what a control does (`glossary`); here is what a word means wherever it stands.
"""

from __future__ import annotations

from pages.shared.frame.glossary import TERMS

WORDS: dict[str, str] = {
    "Adapting": (
        "Changing a pretrained network, step by step, so that its features of normal images lie closer together. "
        "Nobody says what an anomaly is."
    ),
    "Alarm": TERMS["alarm"],
    "Anomaly": "An image that is not normal: another class, or a defect.",
    "Anomaly score": (
        "How far an image lies from normal ones. Higher is more anomalous. On the pages 1 is what a typical held-out "
        "normal image scores; beside maps, held-out normal images lie about 0."
    ),
    "AnomalyDINO": (
        "Compares the patches of one deep level with those of normal images, and of turned copies of these. A few "
        "images are enough."
    ),
    "AUROC": TERMS["auroc"],
    "Center": "The mean of the features of the training images in the unadapted network. It stays where it is.",
    "Collapse": (
        "The end of adapting for too long: all images, normal and anomalous, get almost the same features, and scores "
        "no longer tell them apart."
    ),
    "Data set": "A collection of images with classes, one of which is normal in turn.",
    "Effective rank": TERMS["effective_rank"],
    "Elastic weights (EWC)": (
        "A spring ties each weight to its pretrained value, stiffer where the weight matters more. The strength says "
        "how stiff all springs are."
    ),
    "False alarm": "A normal image that is rejected.",
    "Features": "The list of numbers into which a network turns an image. Images that look alike get similar ones.",
    "Fisher information": TERMS["fisher_mass"],
    "Held-out images": (
        "Normal images that nothing is learned from. Their scores set the threshold, and the unit of all scores."
    ),
    "Map": (
        "A value for every place of an image: how unlike normal images it looks there. Drawn in colours over the "
        "image, it is a heatmap."
    ),
    "Nearest neighbours (kNN)": (
        "The normal training images whose features are most alike. The score of an image is its squared distance to "
        "the k nearest."
    ),
    "Normal class": TERMS["class"],
    "Patch": "A small square of an image. Maps compare patches, each with those of normal images.",
    "PatchCore": (
        "Remembers normal patches, as few as cover the others. A patch scores its distance to the nearest of them."
    ),
    "Recipe": TERMS["recipe"],
    "Run": "One computation with its settings, measurements and results. It has a page of its own.",
    "Sample-wise stopping (SES)": (
        "Keeps several checkpoints and takes, for each image, the one at which it stands out most from normal images."
    ),
    "Spread": "The mean squared distance of the training images to the center: the loss of adapting.",
    "Step": "One change of the weights, after a look at one batch of normal images. Step 0 is the unadapted network.",
    "SubspaceAD": (
        "Remembers no patch, only the directions in which normal ones vary. A patch scores what lies outside of them."
    ),
    "Threshold": (
        "The score above which an image is rejected. Held-out normal images set it, for the share of false alarms "
        "that you allow."
    ),
    "Unadapted": "The pretrained network as it is, at step 0.",
    "Verdict": "Anomalous where the score lies above the threshold, else normal.",
}
# Words for things that already have a name: what is written instead. A test looks for them on every page.
LOSERS = {
    "dataset": "data set",
    "duel": "race",
    "time machine": "film",
    "oracle": "best",
    "AUC": "AUROC",
    "anomaly map": "map",
}
