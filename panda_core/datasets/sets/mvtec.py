"""MVTec AD: fifteen categories of objects and textures, each a data set of its own, with masks of its defects.

A category is a folder in the layout that `folder:PATH` calls MVTec's, and is read by the same code.
"""

from __future__ import annotations

from pathlib import Path

from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.datasets.own.folder import folder_dataset
from panda_core.errors import DataMissing

CATEGORIES = (
    "bottle",
    "cable",
    "capsule",
    "carpet",
    "grid",
    "hazelnut",
    "leather",
    "metal_nut",
    "pill",
    "screw",
    "tile",
    "toothbrush",
    "transistor",
    "wood",
    "zipper",
)
FOLDERS = ("mvtec", "mvtec_ad", "mvtec_anomaly_detection")  # the last is the name in the official archive
ARCHIVE = "mvtec_anomaly_detection.tar.xz"
SOURCE = "https://www.mvtec.com/company/research/datasets/mvtec-ad"


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the published split of the category `normal_class`; its normal label is `good`, `seed` is not used."""
    folder = _found(root).get(normal_class)
    if folder is None:
        raise DataMissing(_how_to_get(root, normal_class))
    return folder_dataset(folder).open(root, "good", seed)


def _found(root: Path) -> dict[str, Path]:
    """Return the folders of the categories that are here; the first of `FOLDERS` that holds one counts."""
    for folder in FOLDERS:
        places = {name: root / folder / name for name in CATEGORIES}
        here = {name: place for name, place in places.items() if (place / "train" / "good").is_dir()}
        if here:
            return here
    return {}


def _how_to_get(root: Path, category: str = "") -> str:
    what = f"The category `{category}` of MVTec AD is" if category else "The images of MVTec AD are"
    return (
        f"{what} not on this machine: fetch {ARCHIVE} (4.9 GB), or the archive of one category, from {SOURCE} and "
        f"unpack it into `{root / FOLDERS[0]}`, so that there is "
        f"`{root / FOLDERS[0] / (category or CATEGORIES[0]) / 'train' / 'good'}`."
    )


MVTEC = Dataset(
    key="mvtec",
    title="MVTec AD",
    about=(
        "Photographs of ten objects and five textures, 700 to 1024 pixels wide, each category with a published split: "
        "normal images for training (3,629 in all), normal and defective ones for testing (1,725), with a mask for "
        "every defective image. `grid`, `screw` and `zipper` are grey."
    ),
    source=SOURCE,
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Bergmann, P. et al. MVTec AD: A Comprehensive Real-World Dataset for Unsupervised Anomaly Detection. CVPR "
        "2019. doi:10.1109/CVPR.2019.00982; Bergmann, P. et al. The MVTec Anomaly Detection Dataset. International "
        "Journal of Computer Vision 129(4), 2021. doi:10.1007/s11263-020-01400-4"
    ),
    image_size=224,
    classes=lambda root: tuple(_found(root)) or CATEGORIES,
    open=open_splits,
    missing=lambda root: None if _found(root) else _how_to_get(root),
    noncommercial=True,
)
