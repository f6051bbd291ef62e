"""What every control, number and chart means, in plain words: the one source of all help texts."""

from __future__ import annotations

from pages.shared.frame.glossary_maps import MAP_TERMS
from pages.shared.frame.glossary_photos import PHOTO_TERMS

_PARTS = MAP_TERMS | PHOTO_TERMS
TERMS: dict[str, str] = _PARTS | {
    # choosing what to adapt to
    "dataset": "The collection of images. Some are installed with the program; others must be fetched first.",
    "folder": (
        "A folder of your own images on this machine: normal images only, or a folder `normal` beside folders of "
        "anomalies, or `train/…` and `test/…` with a folder for each class."
    ),
    "class": "The kind of image that counts as normal. Every other kind in the test set counts as an anomaly.",
    "data_dataset": "The collection of images to look at, also one that has to be fetched first.",
    "data_here": "Whether the images lie below the data folder, or came with the installation.",
    "data_noncommercial": "Its licence or its terms forbid commercial use. Nothing here checks what you do with it.",
    "data_classes": "How many kinds of image can be the normal one in turn.",
    "data_train": "Images of the normal class alone: all that a method learns from.",
    "data_test_normal": "Images of the normal class that no method has learned from.",
    "data_anomalous": "All other images of the test set: other classes, or defects.",
    "data_draw": "Ten other images of each kind, at random.",
    "data_limit": "So many training and so many test images are looked at, drawn by the seed. Fewer are faster.",
    "data_check": "Decodes the images and compares all training with all test images. Takes seconds to minutes.",
    "recipe": "How the network is adapted, and what keeps it from going too far.",
    "steps": (
        "How many times the weights are changed. Each step looks at one batch of normal images. "
        "Left empty, the recipe decides."
    ),
    "lr": (
        "Learning rate: how far the weights move at each step. Small values adapt gently; large ones make the "
        "features collapse. Left empty, the network's own default is used."
    ),
    "device": "What computes: the processor (cpu) or a graphics card.",
    "seed": "The number from which every random choice is drawn. The same seed gives the same run.",
    "name": "A name of your own for this run, to find it again.",
    # more settings
    "backbone": "The pretrained network. Its early stages stay as they are; its late stages are adapted.",
    "image_size": "The side, in pixels, to which images are scaled. Smaller is faster; larger shows more "
    "detail. For maps the nearest multiple of 32 is used.",
    "tiles": (
        "Large photos are cut into so many overlapping tiles along their longer side, each as large as the image size. "
        "*auto* takes the most, up to 4, that enlarge no photo."
    ),
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
    "answers": (
        "The network is shown 36 turned and shifted views of each test image and tells which it sees: how it was "
        "turned, and whether it was shifted across and down. Anomalies show by being told worse."
    ),
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
    "skipped": "Images that could not be decoded, copies of others, masks that are not used, and files of formats that "
    "are not read. They take no part in the run.",
    # curves
    "distances": (
        "How far features lie from the center of the unadapted training images, squared and averaged. All groups move "
        "towards the center; good adaptation moves the normal ones faster (Figure 1, left, of the PANDA paper)."
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
    "alarm": (
        "A warning that needs no labels. It asks whether training images keep the neighbours that they had in the "
        "unadapted network, whether strange copies of normal images are still told apart, and whether enough digits "
        "are left to compare with."
    ),
    "effective_rank": (
        "How many directions the features of the training images really use. It needs no labels; "
        "in a collapse it falls."
    ),
    "final_auroc": "The AUROC of the run's final scores, and its 95 % interval: see the chart.",
    "unadapted_auroc": "The AUROC at step 0: the pretrained network as it is.",
    "whitened_auroc": "The AUROC that the whitened space, the default, gives on the same images without any adapting.",
    "stop_step": "The step whose features give the final scores; for sample-wise stopping, the median over images.",
    "oracle": (
        "The step with the best AUROC. It was chosen with the test labels, which no method may do: "
        "it shows what a perfect stopping rule could reach."
    ),
    "undefined": "Not defined here: the test set lacks normal images or anomalies.",
    "unknown_yet": "Not measured yet.",
    "time_machine": (
        "Keys: left and right arrow, space, Home, End. The two directions of the cloud are fixed at step 0. The twelve "
        "images are chosen by their scores at step 0, six of each kind."
    ),
    "compute_heatmaps": (
        "Compares every patch of up to 100 test images with patches of normal ones, once with the network of each "
        "checkpoint. Takes minutes; the heatmap then follows the scrubber like everything else."
    ),
    "ses_chosen": (
        "Sample-wise stopping takes, for each image, the checkpoint at which it stands out most. Images that choose an "
        "early one would have been lost later."
    ),
    "ses_image": (
        "Scores of different checkpoints compare once each is divided by what a normal image scores there. The ring "
        "marks the largest, which sample-wise stopping takes."
    ),
    "strength": "How firmly weights are held at their pretrained values. 0: not at all.",
    "fisher_mass": (
        "The Fisher information says how much the answers of the pretrained network would change with a weight. "
        "Elastic weights hold most firmly where it is large."
    ),
    "moved": (
        "How far the weights of a layer turned away from the pretrained ones, in percent of their size. A mere change "
        "of scale is left out: the normalisation behind each layer undoes it."
    ),
    "elastic_run": "Starts this run on this machine, with the same settings as the recorded one.",
    "rivals": (
        "Other recipes from the same network, images and seed. They wait for one another: one computes at a time."
    ),
    "word": "A word, or part of one. What stands in a meaning is found as well.",
    "link_opens": "The page that the link leads to.",
    "link_hide": "Parts of the film, and the cards, that are not shown.",
    "link_lock": "Settings that cannot be changed in the Lab.",
    "link_large": "All type and charts, so that the smallest can be read from the last row.",
    "link_bright": "The light theme, without the navigation.",
    "link_try": "Opens the link in a tab of its own, where what it hides ends with the tab.",
    "film": "Runs that came with the program.",
    "absent": "Lists what else can be used, and how to get it.",
    "recorded": "It came with the program: it can be looked at, never changed.",
    "again": "Opens the Lab with these settings filled in. Nothing starts before you press Start.",
    "duel_settings": "Only settings in which these runs differ.",
    "duel": "One scrubber for all runs: each stands at the step shown, or at its last one before it.",
    "guess": "Guess first: what surprises you stays in mind. Nobody else sees it.",
    "reveal": "Compares your guess with what was measured.",
    "guesses_csv": "Your predictions of this session. They are kept nowhere else.",
    "lesson_begin": "Opens the first step of this lesson. Every step has an address of its own.",
    "lesson_next": "Opens the next step of this lesson.",
    "lesson_back": "Opens the step before this one. Guesses are kept.",
    "lesson_all": "Opens the list of lessons.",
    "lesson_link": "For teachers: prepares an address that opens this step, with large type or for a projector.",
    "lesson_text": "The whole lesson on one page, with all answers.",
    "share": "The address of this page holds the run and, where you stopped the film, the step.",
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
    "score": "The anomaly score. Higher is more anomalous; 1 is what a typical held-out normal image scores here.",
    "percentile": "The share of held-out normal images that score lower than this image.",
    "verdict": "Anomalous if the score lies above the threshold, else normal.",
    "neighbours": (
        "The normal training images whose features are most alike at this step, with their squared distance in "
        "the unit of the score: what a typical held-out normal image scores."
    ),
    # images of one's own
    # runs
    "compare": "Up to four runs in one chart.",
    "race_these": "Opens these runs under one scrubber, with a cloud for each, and says what came of each and why.",
    "chosen_run": "The run to open, download, rename or delete: choose it here, or click on its row.",
    "rename": "Saves the name.",
    "download": "The run's folder as one archive: settings, curves, scores and versions, without the adapted weights.",
    "detector": (
        "All that scores new images, as one file: weights or patches, and threshold. No code, and no images. "
        "`python -m panda_core score FILE IMAGES` uses it, and `panda_core.load_bundle` in Python."
    ),
    "detector_onnx": (
        "The network, its scores and its threshold as one graph, for ONNX Runtime and what else reads that format. "
        "It is compared with the run on test images: a minute or two, many where each image has a step of its own."
    ),
    "detector_too_large": (
        "More than 400 MB: write it in a terminal, with `python -m panda_core export RUN OUT`, and `--format bundle` "
        "for the detector."
    ),
    "delete": "Removes the run's folder from this machine. For ten seconds you can undo it.",
    "undo": "Brings the run back as it was.",
    "state": (
        "queued: waits for its turn. running: computes. finished: reached its end. stopped: on request. "
        "failed: could not go on. interrupted: its process ended without a word."
    ),
    "different_settings": "Only settings in which the chosen runs differ.",
    # paper tables
    "grid": "Tables that were ever started on this machine.",
    "grid_state": (
        "running: runs are being computed. finished: all that can be run has ended. stopped: on request. interrupted: "
        "the process ended without a word; start it again, and what is finished is kept."
    ),
    "quick_grid": "Computes all recipes with few images, in a process of its own. You may close this page.",
    "stop_grid": "Asks the runs that are being computed to stop. What is finished is kept.",
    "grid_chart": (
        "A dot with its 95 % interval is measured; a diamond is what a paper reports, open where it is not of the same "
        "classes."
    ),
    "grid_measured": "The mean over normal classes of the mean over seeds, in percent.",
    "grid_interval": "Where the mean would lie with other test images and, with more than one seed, other seeds.",
    "grid_published": "What a paper reports, in percent; in brackets where it is of other normal classes.",
    "grid_difference": "Measured minus published, in percentage points, where both are of the same classes.",
    "grid_runs": "How many of the runs behind this line are finished.",
    "grid_conditions": "The form and number of images, network, image size, limits, steps and seeds.",
    "grid_run": "One of the runs behind this table, to open on its own page.",
    "grid_download": "The table as a file; the HTML one opens anywhere, with no network.",
    # new classes
    "residual_auroc": (
        "The same chance where an image's score is how far its places lie from the references, without what was "
        "learned."
    ),
}


def tip(term: str) -> str:
    """Return the help text of `term`."""
    return TERMS[term]
