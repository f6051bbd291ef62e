"""What every control, number and chart means, in plain words: the one source of all help texts."""

from __future__ import annotations

TERMS: dict[str, str] = {
    # choosing what to adapt to
    "dataset": "The collection of images. Some are installed with the program; others must be fetched first.",
    "folder": (
        "A folder of your own images on this machine: normal images only, or a folder `normal` beside folders of "
        "anomalies, or `train/…` and `test/…` with a folder for each class."
    ),
    "class": "The kind of image that counts as normal. Every other kind in the test set counts as an anomaly.",
    "recipe": "How the network is adapted, and what keeps it from going too far.",
    "steps": (
        "How many times the weights are changed. Each step looks at one batch of normal images. "
        "Left empty, the recipe decides."
    ),
    "lr": (
        "Learning rate: how far the weights move at each step. Small values adapt gently; large ones make the "
        "features collapse. Left empty, the network's own default is used."
    ),
    "seed": "The number from which every random choice is drawn. The same seed gives the same run.",
    "name": "A name of your own for this run, to find it again.",
    # more settings
    "backbone": "The pretrained network. Its early stages stay as they are; its late stages are adapted.",
    "image_size": "The side, in pixels, to which images are scaled. Smaller is faster; larger shows more detail.",
    "feature_norm": (
        "What is done to the features before distances are measured. *l2* scales each to length 1; *whiten* gives "
        "every direction the same weight, as seen in the unadapted training images; *none* leaves them alone."
    ),
    "scorer": "How the anomaly score is computed from the features. Higher always means more anomalous.",
    "batch_size": "How many normal images each step looks at.",
    "train_limit": "Use at most this many normal training images. Left empty, all of them.",
    "test_limit": "Use at most this many test images, as many of each class as possible. Left empty, all of them.",
    "eval_every": "Measure after every so many steps. Step 0 and the last step are always measured.",
    "set_options": "Settings that belong to the chosen recipe, scorer or network.",
    "clip": "Upper limit for the size of one change of the weights, before the learning rate is applied.",
    "momentum": "How much of the previous change is carried over into the next one.",
    "weight_decay": "How strongly all weights are pulled towards zero at each step.",
    "whiten_dims": "How many directions are kept, at most, when features are whitened.",
    "cache_dtype": "How precisely the activations of the frozen stages are stored: *float16* takes half the space.",
    "calibrate_on": (
        "Which images set the threshold. *held-out*: a tenth of the normal images, which the network is not adapted "
        "on. *train*: that tenth is adapted on as well, as in the paper; the threshold then comes out too low."
    ),
    "ewc_strength": "How firmly the weights that matter for ImageNet are held at their pretrained values.",
    "fisher_images": "From how many images it is estimated which weights matter (the Fisher information).",
    "l2_strength": "How firmly every weight is held at its pretrained value.",
    "ses": (
        "What the scores of a checkpoint are divided by, so that checkpoints compare: *A* the spread of the training "
        "images, *B* the scores of held-out normal images."
    ),
    "ses_start": "Whether the unadapted network may be chosen for an image as well.",
    "k": "How many nearest normal training images count for the score.",
    "means": "How many group centres are fitted to the normal images.",
    "cut": "The stage at which the frozen part ends. Stages after it are adapted.",
    # starting and following
    "start": "Starts the run in a process of its own. You may close this page: the run goes on.",
    "stop": "Asks the run to stop before its next batch. What has been measured is kept, and the run can be resumed.",
    "resume": "Goes on from the last saved step.",
    "copy_command": "The same run from a terminal, or from a Python program of your own.",
    "copy_python": "The same run from a Python program of your own.",
    "new_settings": "Clears the finished run from this page. It stays in the list of runs.",
    "preset": "Fills in all settings at once. Nothing starts before you press Start.",
    "stage": "What the run is doing at the moment.",
    "time_left": "Estimated from the speed so far.",
    "skipped": "Images that could not be decoded. They take no part in the run.",
    # curves
    "distances": (
        "How far features lie from the centre of the unadapted training images, squared and averaged. All groups move "
        "towards the centre; good adaptation moves the normal ones faster (Figure 1, left, of the PANDA paper)."
    ),
    "ratios": (
        "The same distances divided by that of the training images (the dotted line at 1). While anomalies rise the "
        "features improve; when they fall towards 1 the features collapse (Figure 1, right, of the PANDA paper)."
    ),
    "auroc": (
        "The chance that a random anomaly scores higher than a random normal image: 1 is perfect, 0.5 is guessing. "
        "The band is a 95 % interval for other test images of the same kind. Labels are used here and nowhere else."
    ),
    "auroc_short": (
        "the chance that a random anomaly scores higher than a random normal image; 1 is perfect, 0.5 is guessing."
    ),
    "effective_rank": (
        "How many directions the features of the training images really use. It needs no labels; "
        "in a collapse it falls."
    ),
    "final_auroc": "The AUROC of the run's final scores, and its 95 % interval: see the chart.",
    "unadapted_auroc": "The AUROC at step 0: the pretrained network as it is.",
    "stop_step": "The step whose features give the final scores; for sample-wise stopping, the median over images.",
    "oracle": (
        "The step with the best AUROC. It was chosen with the test labels, which no method may do: "
        "it shows what a perfect stopping rule could reach."
    ),
    "undefined": "Not defined here: the test set lacks normal images or anomalies.",
    "unknown_yet": "Not measured yet.",
    "replay": "The whole run as a film. The two directions of the picture are fixed at step 0.",
    "spectrum": (
        "How the spread of the training features is shared among directions. In a collapse few directions hold all."
    ),
    # looking at images
    "run": "The run to look at.",
    "step": "*final* are the scores that the recipe settles on; a number shows the scores at that step.",
    "false_alarms": (
        "The share of held-out normal images that may be rejected. It sets the threshold: 5 % means that about one "
        "fresh normal image in twenty is rejected."
    ),
    "histogram": "How scores are spread. Where the two groups overlap, no threshold can tell them apart.",
    "rejected": "Normal test images whose score lies above the threshold: false alarms.",
    "found": "Anomalous test images whose score lies above the threshold.",
    "gallery": "Which test images are shown, and in which order.",
    "page": "More images.",
    "image": "The image to look at closely.",
    "score": "The anomaly score. Higher is more anomalous; it has no unit and compares within one step only.",
    "percentile": "The share of held-out normal images that score lower than this image.",
    "verdict": "Anomalous if the score lies above the threshold, else normal.",
    "neighbours": (
        "The normal training images whose features are most alike at this step, with the squared distance between them."
    ),
    # runs
    "compare": "Up to four runs in one chart.",
    "chosen_run": "The run to rename, download or delete.",
    "rename": "Saves the name.",
    "download": "The run's folder as one archive: settings, curves, scores and versions, without the adapted weights.",
    "delete": "Removes the run's folder from this machine for good.",
    "state": (
        "queued: waits for its turn. running: computes. finished: reached its end. stopped: on request. "
        "failed: could not go on. interrupted: its process ended without a word."
    ),
    "different_settings": "Only settings in which the chosen runs differ.",
}


def tip(term: str) -> str:
    """Return the help text of `term`."""
    return TERMS[term]
