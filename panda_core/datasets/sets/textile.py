"""Simulated textiles: 1,000 nominal images of one woven texture, 500 with a local and 500 with a global defect.

A local defect is a speck of about 8 x 12 pixels in an image of 250; a global one changes the whole weave a little. No
split is published: the one here is by the seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.packages import package_folders
from panda_core.datasets.one_class import Dataset, LabelledSplits, stratified_split
from panda_core.errors import DataMissing

PACKAGE = "conformal-clip-data"
INSIDE = "data/textile_images/simulated"
NOMINAL = "nominal"
DEFECTS = ("local", "global")
TRAIN_FRACTION = 0.7


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return 70 % of the nominal images, chosen by `seed`, for training; the others and all defective ones to test."""
    folder = _folder(root)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    kinds = {kind: [f"{kind}/{place}" for place in image_files(folder / kind)] for kind in (NOMINAL, *DEFECTS)}
    nominal = np.array(kinds[NOMINAL])
    train, held_out = stratified_split(np.full(len(nominal), NOMINAL), TRAIN_FRACTION, seed)
    defective = [place for kind in DEFECTS for place in kinds[kind]]
    counts = [len(held_out), *(len(kinds[kind]) for kind in DEFECTS)]
    return LabelledSplits(
        train=FileImages.below(folder, nominal[train]),
        train_labels=np.full(len(train), NOMINAL),
        test=FileImages.below(folder, [*nominal[held_out], *defective]),
        test_labels=np.repeat([NOMINAL, *DEFECTS], counts),
        normal_label=NOMINAL,
    )


def _folder(root: Path) -> Path | None:
    """Return the folder that holds `nominal/`, `local/` and `global/`: the data root's first, else the package's."""
    places = [root / "textile", *(place / INSIDE for place in package_folders(PACKAGE.replace("-", "_")))]
    return next((place for place in places if all((place / kind).is_dir() for kind in (NOMINAL, *DEFECTS))), None)


def _how_to_get(root: Path) -> str:
    return (
        f"The textile images are not on this machine: install them with `pip install {PACKAGE}` (42 MB), or put its "
        f"folders `nominal`, `local` and `global` into `{root / 'textile'}`."
    )


TEXTILE = Dataset(
    key="textile",
    title="Textiles (simulated)",
    about=(
        "Simulated grey images of one woven texture, 250 x 250. Normal: nominal (1,000), 70 % of them, chosen by the "
        "seed, for training. Anomalous: local (500), a speck of about 8 x 12 pixels; global (500), another weave "
        "everywhere. No masks. Specks are finer than what networks see at 224 pixels: `--image-size 448` shows them."
    ),
    source="https://github.com/fmegahed/conformal-clip-data (PyPI: conformal-clip-data)",
    licence="MIT",
    citation=(
        "Megahed, F. M., Chen, Y.-J., Colosimo, B. M., Grasso, M. L. G., Jones-Farmer, L. A., Knoth, S., Sun, H. & "
        "Zwetsloot, I. Adapting OpenAI's CLIP model for few-shot image inspection in manufacturing quality control: an "
        "expository case study with multiple application examples. arXiv:2501.12596, 2025."
    ),
    image_size=224,
    classes=lambda root: (NOMINAL,),
    open=open_splits,
    missing=lambda root: None if _folder(root) else _how_to_get(root),
)
