"""What the controls and numbers around photos of one's own mean, in plain words: a part of the glossary."""

from __future__ import annotations

PHOTO_TERMS: dict[str, str] = {
    # many good photos: drop, check, learn, results
    "own_images": (
        "Photos of what is as it should be, taken alike; or an archive. In an archive or a folder, `good` or `normal` "
        "holds good photos, `ground_truth` masks, and every other folder a kind of bad ones. Reading begins at once."
    ),
    "own_folder": "Of a folder the names of the folders in it count as well: `good` beside kinds of bad photos.",
    "own_optional": "Nothing is learned from these: they show how well bad photos are told from good ones.",
    "own_anomalies": "Photos with a defect. An archive may hold a folder for each kind.",
    "own_masks": "Black images, white where the defect is, named as their photo (`7.png` or `7_mask.png`).",
    "own_kinds": "Good photos are learned from; some are held back to set the threshold. Bad ones only measure.",
    "own_delete": "Nothing of yours stays on the disk of this machine. It cannot be taken back.",
    "own_method": (
        "*Patches* compares every part of a photo with parts of good ones, and shows where it differs. *Whole photo* "
        "adapts the network until it sees good photos alike, and gives one score for each photo. Small defects need "
        "patches; the other suits photos that differ as a whole."
    ),
    "own_learn": "Starts in a process of its own. You may close this page and come back by its address.",
    "own_interval": (
        "The threshold is one of the values of normal images that were not learned from. How many fresh normal images "
        "lie above it then follows a Beta distribution, whatever the values; more normal images make it narrower. "
        "It holds for images taken as those were."
    ),
    "own_trust": (
        "From the photos that were held back to test with: the AUROC, the chance that a bad one scores higher than a "
        "good one (0.5 is guessing, 1 is perfect), and the interval in which it lies for other photos of the kind."
    ),
    "own_way": "Where the photos to score come from.",
    "own_camera": "A photo from the camera of this device, which the browser asks you to allow.",
    "own_others": "Photos of the same kind, good or bad, taken as the good ones were. They are scored at once.",
    "own_table": "Name, verdict, score and percentile of each image. Scores are as a terminal prints them.",
    "own_detail": (
        "The side to which photos are scaled before they are compared. Fine defects in large photos need more, which "
        "takes longer."
    ),
    "own_tiles": (
        "For defects that are small in a large photo. It is cut, in its own shape, into overlapping tiles, each looked "
        "at in the size above; one map and one score come out. All photos must have one shape."
    ),
    "own_region": (
        "For photos that show more than the part: another part beside it, a label, a hand, a background that changes. "
        "What lies outside of what you mark changes no verdict and no map. All photos must be in one shape."
    ),
    "own_region_file": "A picture in the shape of the photos, as other programs save masks.",
    "own_sample": "Solar cells that come with the program: good ones, and some that are defective.",
    "own_few": "A model that was trained on other things judges new photos beside them. Nothing is learned.",
    "own_view": "The photos it was tested with, new ones, a brush to try it, or the detector as a file.",
    "own_doubtful": (
        "Each was compared with other good photos. A bad one among them raises the threshold and hides others of its "
        "kind: call it bad, and what is learned is learned without it."
    ),
    "own_correct": "Changes what this photo counts as and learns once more, with the same settings.",
    "paint": "Draw a defect with the mouse and see at once what a detector makes of it.",
    "step_drop": "Begin with other photos.",
    "step_look": "See what was understood, and mark bad photos.",
    "step_learn": "A detector is being learned.",
    "step_results": "What the detector is worth, and new photos.",
    # two to eight good photos
    "new_classes_section": "Judge a new class with a model that is there, or train another model.",
    "new_class": "The class that is not trained on. Its normal images give references.",
    "new_references": (
        "Normal images of the new class, 2 to 8. Every place of an image is compared with the most similar place in "
        "all of them, so different views of what is normal help most."
    ),
    "new_others": (
        "Images of the same kind of thing. Each is judged on its own, as soon as it is dropped and there are two "
        "references: it is compared with these. Nothing is trained."
    ),
    "new_example": "Trains a small model on monocrystalline solar cells; the new class are polycrystalline ones.",
    "new_steps": "How many batches the model is trained on. Left empty, 100.",
    "new_train": "Starts the training in a process of its own. You may close this page: it goes on.",
    "new_auroc": (
        "The chance that a random anomalous image of the new class scores above a random normal one, the mean over "
        "the draws of references that were measured. 0.5 is guessing."
    ),
}
