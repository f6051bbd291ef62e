"""What the controls, numbers and maps of the Segment page mean, in plain words: a part of the glossary."""

from __future__ import annotations

MAP_TERMS: dict[str, str] = {
    # where the defect is: looking at maps
    "segment_section": "Look at the maps of a run, or start a run.",
    "map_step": "Which network the patches were compared with: the adapted one after so many steps; 0 is unadapted.",
    "map_alarms": (
        "The share of normal images that may be rejected. It sets the threshold of the score, from held-out normal "
        "images. The map shows where; it rejects nothing."
    ),
    "map_value": (
        "Contours, masks and boxes mark what lies above this value of the map. It starts where maps of held-out normal "
        "images end: one pixel in a thousand of theirs lies higher. It decides nothing about an image."
    ),
    "map_way": (
        "*heatmap* colours everything; *contour* draws a line at the map value chosen below; *mask* colours what lies "
        "above; *boxes* frame each connected region above it."
    ),
    "map_opacity": "How much of the image the colours hide.",
    "map_colours": (
        "One scale for all images has its middle where maps of normal images end, so that these stay calm. With a "
        "scale of its own, every image has something red in it."
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
    "map_score_spread": (
        "How far the image stands out from held-out normal images, in their standard deviations: these lie about 0. "
        "Higher is more anomalous."
    ),
    "map_peak": "The highest value of the map of this image.",
    "map_verdict": "Rejected if the score lies above the threshold, which held-out normal images set.",
    "ground_truth": "What people marked as defective. It is used to measure, never to learn.",
    "map_followed": (
        "The highest value of this image's map, and where maps of normal images end, for each checkpoint of the "
        "network. Good adaptation lifts defects above that line; a collapse blurs everything."
    ),
    "nearest_patches": (
        "Every patch is compared with patches of normal training images. If even the nearest ones look different, "
        "the patch is hot. The frame shows the place of the patch in its image."
    ),
    "hottest": "Jumps to one of the hottest patches of this image.",
    "patch_place": "The place of the patch, counted from the top left. The same as a click on the picture.",
    # where the defect is: how good it is
    "map_rejected": "Normal test images whose score lies above the threshold: false alarms.",
    "map_found": "Anomalous test images whose score lies above the threshold.",
    "map_pixels": "Needs the mask of every image; for many images this takes some seconds.",
    "pixel_precision": "Of the pixels above the map value, the share that is marked as defective.",
    "pixel_recall": "Of the pixels marked as defective, the share that lies above the map value.",
    "pixel_iou": (
        "Pixels that are both above the map value and marked, divided by those that are either (intersection over "
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
    "segment_start": "Starts the run in a process of its own. You may close this page: the run goes on.",
    "segment_example": "Starts a small run on solar cells that come with the program.",
    "segment_own": "Opens the page for images of your own.",
}
