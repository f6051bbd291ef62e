"""Hyper-Kvasir: endoscopic images of the gut; a healthy colon is normal, polyps are the anomalies.

Read are the labelled images as they are distributed, `labeled-images/<tract>/<group>/<finding>/*.jpg`. The protocol
follows Tian et al. (CCD, MICCAI 2021): normal are the findings caecum, ileum and a clean bowel (BBPS 2-3), of which
they take 1,600 for training and 500 for testing, against polyps. Their split is unpublished, so ours differs: all
images of these findings are used (2,166 are published), 16 in 21 of each finding for training, chosen by the seed.
PANDA's own figure for this data set (its repository: 0.94) comes without a protocol; do not compare.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.places import find_folder, how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits, stratified_split
from panda_core.errors import DataMissing, UsageError

HEALTHY, POLYPS = "healthy", "polyps"
NORMAL_FINDINGS = (
    "lower-gi-tract/anatomical-landmarks/cecum",
    "lower-gi-tract/anatomical-landmarks/ileum",
    "lower-gi-tract/quality-of-mucosal-views/bbps-2-3",
)
ANOMALOUS_FINDING = "lower-gi-tract/pathological-findings/polyps"
WANTED = (*NORMAL_FINDINGS, ANOMALOUS_FINDING)
FOLDERS = (
    "hyper_kvasir/labeled-images",
    "hyper-kvasir/labeled-images",
    "hyper-kvasir-labeled-images/labeled-images",
    "labeled-images",
)
SOURCE = "https://datasets.simula.no/hyper-kvasir/"
TRAIN_FRACTION = 1600 / 2100


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return healthy images for training, chosen by `seed` within each finding; the other healthy ones and polyps."""
    folder = find_folder(root, FOLDERS, WANTED)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    found = {finding: [f"{finding}/{place}" for place in image_files(folder / finding)] for finding in WANTED}
    for finding, places in found.items():
        if not places:
            raise UsageError(f"`{folder / finding}` holds no images. Unpack the official archive again.")
    healthy = np.array([place for finding in NORMAL_FINDINGS for place in found[finding]])
    findings = np.repeat(NORMAL_FINDINGS, [len(found[finding]) for finding in NORMAL_FINDINGS])
    train, held_out = stratified_split(findings, TRAIN_FRACTION, seed)
    polyps = found[ANOMALOUS_FINDING]
    return LabelledSplits(
        train=FileImages.below(folder, healthy[train].tolist()),
        train_labels=np.full(len(train), HEALTHY),
        test=FileImages.below(folder, [*healthy[held_out].tolist(), *polyps]),
        test_labels=np.repeat([HEALTHY, POLYPS], [len(held_out), len(polyps)]),
        normal_label=HEALTHY,
    )


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "Hyper-Kvasir",
        files="hyper-kvasir-labeled-images.zip (3.9 GB)",
        source=SOURCE,
        folder=root / FOLDERS[0],
        wanted=WANTED,
    )


HYPER_KVASIR = Dataset(
    key="hyper_kvasir",
    title="Gut (Hyper-Kvasir)",
    about=(
        "Endoscopic photographs of the colon, 332 to 1,920 pixels wide. Normal: caecum (1,009), ileum (9) and clean "
        "bowel (1,148), 16 in 21 of them, chosen by the seed, for training. Anomalous: polyps (1,028). The split that "
        "papers use is unpublished, so figures are not comparable; several images may show one patient."
    ),
    source=SOURCE,
    licence="CC BY 4.0",
    citation=(
        "Borgli, H. et al. HyperKvasir, a comprehensive multi-class image and video dataset for gastrointestinal "
        "endoscopy. Scientific Data 7, 283, 2020. doi:10.1038/s41597-020-00622-y; protocol: Tian, Y. et al. "
        "Constrained Contrastive Distribution Learning for Unsupervised Anomaly Detection and Localisation in Medical "
        "Images. MICCAI 2021."
    ),
    image_size=224,
    classes=lambda root: (HEALTHY,),
    open=open_splits,
    missing=lambda root: None if find_folder(root, FOLDERS, WANTED) else _how_to_get(root),
)
