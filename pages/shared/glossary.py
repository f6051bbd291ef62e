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
    # where the defect is: looking at maps
    "segment_section": "Look at the maps of a run, start a run, or use photos of your own.",
    "map_step": "Which network the patches were compared with: the adapted one after so many steps; 0 is unadapted.",
    "map_alarms": (
        "The share of normal images that may be rejected. It sets the threshold of the map, from the held-out normal "
        "images: an image is rejected if any point of its map lies above it."
    ),
    "map_by_value": "Sets the threshold as a value of the map, instead of as a rate of false alarms.",
    "map_value": "Points of the map above this value are rejected.",
    "no_map_threshold": (
        "No normal images were held out of this run, so its maps have no threshold and the colours run from the "
        "median to the highest value."
    ),
    "map_way": (
        "*heatmap* colours everything; *contour* draws a line at the threshold; *mask* colours what lies above it; "
        "*boxes* frame each connected region above it."
    ),
    "map_opacity": "How much of the image the colours hide.",
    "map_colours": (
        "One scale for all images has the threshold in its middle, so that normal images stay calm. With a scale of "
        "its own, every image has something red in it."
    ),
    "own_scale": (
        "Each image is now coloured from its own lowest to its own highest value. This reproduces the “all normals "
        "are red” mistake: colours of two images no longer compare, and normal images seem to have defects."
    ),
    "map_group": "Which images are shown.",
    "map_order": "By the score of the image.",
    "map_unit": "A value of 1 is as far from normal as held-out normal patches are on average.",
    "map_click": "Click on the picture to choose a patch, and see below what it was compared with.",
    "map_score": "The score of the image, from the values of its patches. Higher is more anomalous.",
    "map_peak": "The highest value of the map of this image.",
    "map_verdict": "Rejected if any point of the map lies above the threshold.",
    "ground_truth": "What people marked as defective. It is used to measure, never to learn.",
    "map_followed": (
        "The highest value of this image's map, and the threshold at 5 % false alarms, for each checkpoint of the "
        "network. Good adaptation lifts defects above the threshold; a collapse blurs everything."
    ),
    "nearest_patches": (
        "Every patch is compared with patches of normal training images. If even the nearest ones look different, "
        "the patch is hot. The frame shows the place of the patch in its image."
    ),
    "hottest": "Jumps to one of the hottest patches of this image.",
    "patch_place": "The place of the patch, counted from the top left. The same as a click on the picture.",
    # where the defect is: how good it is
    "map_rejected": "Normal test images with a point of the map above the threshold: false alarms.",
    "map_found": "Anomalous test images with a point of the map above the threshold.",
    "map_pixels": "Needs the mask of every image; for many images this takes some seconds.",
    "pixel_precision": "Of the pixels above the threshold, the share that is marked as defective.",
    "pixel_recall": "Of the pixels marked as defective, the share that lies above the threshold.",
    "pixel_iou": (
        "Pixels that are both above the threshold and marked, divided by those that are either (intersection over "
        "union). 100 % would be a perfect outline."
    ),
    "image_auroc": (
        "The chance that a random anomaly scores higher than a random normal image: 1 is perfect, 0.5 is guessing. "
        "Below it the 95 % interval for other test images of the same kind."
    ),
    "pixel_auroc": "The same chance for a random defective and a random normal pixel. Large defects count most.",
    "aupro": (
        "How much of each connected defect is covered, on average, while at most 30 % of the normal pixels are "
        "wrongly covered. Small defects count as much as large ones."
    ),
    "pixel_ap": "Precision of the pixels, averaged over all thresholds. It is strict where defects are small.",
    "oracle_f1": (
        "The best balance of pixel precision and recall that any threshold could give. The masks chose that "
        "threshold, which no method may do: it is a limit, not a result."
    ),
    "undefined_map": "Not defined here: the test set lacks normal images, anomalies or masks.",
    "recall": "Above a certain number of patches the search trades exactness for speed.",
    "kinds": "Each kind of defect against all normal test images.",
    "map_download": (
        "A zip file: for each image its map as NPY, a picture under the fixed colours, and a table with all scores."
    ),
    # where the defect is: starting
    "segmenter": "How patches are compared with normal ones.",
    "synthetic": (
        "Uses the normal images alone and draws defects into half of the test images, so that there are exact masks "
        "to measure with. It measures how well these defects are found, not real ones."
    ),
    "adapted": (
        "The network whose features are compared: as pretrained on ImageNet, or as one of your runs adapted it."
    ),
    "checkpoint": "The last checkpoint of that run, or all of them in turn, to see the maps change while it adapts.",
    "segment_start": "Starts the run in a process of its own. You may close this page: the run goes on.",
    "segment_example": "Starts a small run on solar cells that come with the program.",
    "segment_photos": "Opens the part of this page for photos of your own.",
    "levels": "Stages of the network whose maps are compared, separated by commas. Left empty, the network's own.",
    "neighbourhood": "Side of the square of neighbours over which each patch is averaged; an odd number.",
    "sigma": "How much the finished map is blurred, in pixels of an image of 224 pixels.",
    "memory_gb": "The run refuses to start if its patches need more memory than this, in gigabytes.",
    "merge": "*separate* compares each level with a bank of its own; *concat* joins the levels, as in the paper.",
    "coreset": "The share of the normal patches that is kept: those that best cover the others.",
    "bank_rows": "The largest number of normal patches that is kept.",
    "candidates": "Among how many patches, drawn at random, the kept ones are chosen.",
    "exact_rows": "Above so many normal patches the search becomes approximate, and faster.",
    "top": "The share of the patches that count as the hottest of an image. 0 takes one alone.",
    "image_score": (
        "*part*: the mean of the hottest patches. *part-or-whole*: that, or the mean of all patches where it stands "
        "out more among held-out normal images."
    ),
    "reweight": "Number of neighbours for the paper's re-weighting of the hottest patch; 0 turns it off.",
    "position": "How much the place of a patch counts beside its look: more where all images are aligned alike.",
    "rotations": "Turned copies of each normal image that are learned as well: 1, 2, 4 or 8.",
    "nearest_images": "With how many of the most similar normal images the patches are compared.",
    # where the defect is: photos of one's own
    "normal_photos": "Photos of what is as it should be, taken alike. Some are held out to set the threshold.",
    "segment_teach": "Keeps the photos and starts a run that learns from them what is normal.",
    "segment_checker": "The finished run whose normal images the photos are compared with.",
    "other_photos": "Photos of the same kind, good or bad.",
    "segment_check": "Compares these photos with the normal images of the run.",
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
