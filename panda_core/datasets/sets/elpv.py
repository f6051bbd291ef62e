"""ELPV: 2,624 electroluminescence images of solar cells, functional or defective to a stated degree.

The protocol differs from the pooled one of some papers (mono and poly together, 75/25): here a cell type is the
class, as an object is in MVTec, because the two types look nothing alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.packages import package_folders
from panda_core.datasets.one_class import Dataset, LabelledSplits, stratified_split
from panda_core.errors import DataMissing, UsageError

CLASSES = ("mono", "poly")
FUNCTIONAL, DEFECTIVE = "functional", "defective"
TRAIN_FRACTION = 0.7


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return cells of type `normal_class`: 70 % of the functional ones, chosen by `seed`, for training.

    Functional means a defect probability of 0, defective one of 1; what lies between is left out. The test set is
    the other functional cells and all defective ones of the same type.
    """
    folder = _folder(root)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    cells = [cell for cell in _read_labels(folder / "labels.csv") if cell[2] == normal_class]
    functional = np.array([name for name, probability, _ in cells if probability == 0])
    defective = [name for name, probability, _ in cells if probability == 1]
    train, held_out = stratified_split(np.full(len(functional), FUNCTIONAL), TRAIN_FRACTION, seed)
    test = [*functional[held_out], *defective]
    return LabelledSplits(
        train=FileImages.below(folder, functional[train]),
        train_labels=np.full(len(train), FUNCTIONAL),
        test=FileImages.below(folder, test),
        test_labels=np.repeat([FUNCTIONAL, DEFECTIVE], [len(held_out), len(defective)]),
        normal_label=FUNCTIONAL,
    )


def _folder(root: Path) -> Path | None:
    """Return the folder that holds `labels.csv` and `images/`: the data root's first, else the installed package's."""
    places = [root / "elpv", *(place / "data" for place in package_folders("elpv_dataset"))]
    return next((place for place in places if (place / "labels.csv").is_file() and (place / "images").is_dir()), None)


def _read_labels(path: Path) -> list[tuple[str, float, str]]:
    """Return (image, probability of a defect, cell type) of each line: `images/cell0001.png  1.0   mono`."""
    cells = []
    for place, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            name, probability, kind = line.split()
            cells.append((name, float(probability), kind))
        except ValueError:
            name = ""
        if Path(name).parts[:1] != ("images",) or ".." in Path(name).parts:
            raise UsageError(
                f"Line {place} of `{path}` must be `images/cellNNNN.png  PROBABILITY  TYPE`; got `{line[:80]}`. "
                "Replace the file by the published one."
            )
    return cells


def _how_to_get(root: Path) -> str:
    return (
        "The ELPV images are not on this machine: install them with `pip install elpv-dataset`, or fetch "
        f"https://github.com/zae-bayern/elpv-dataset and put `labels.csv` and `images/` into `{root / 'elpv'}`."
    )


ELPV = Dataset(
    key="elpv",
    title="Solar cells (ELPV)",
    about=(
        "Electroluminescence images of solar cells, 300 x 300 grey. Normal: functional (defect probability 0; 588 "
        "mono, 920 poly), 70 % of them, chosen by the seed, for training. Anomalous: defective (probability 1; 313 "
        "mono, 402 poly). Doubtful cells are left out."
    ),
    source="https://github.com/zae-bayern/elpv-dataset (PyPI: elpv-dataset)",
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Buerhop-Lutz, C. et al. A Benchmark for Visual Identification of Defective Solar Cells in "
        "Electroluminescence Imagery. EU PVSEC 2018. doi:10.4229/35thEUPVSEC20182018-5CV.3.15; Deitsch, S. et al. "
        "Automatic classification of defective photovoltaic module cells in electroluminescence images. Solar Energy "
        "185, 2019. doi:10.1016/j.solener.2019.02.067; Deitsch, S. et al. Segmentation of photovoltaic module cells "
        "in uncalibrated electroluminescence images. Machine Vision and Applications 32(4), 2021. "
        "doi:10.1007/s00138-021-01191-9"
    ),
    image_size=128,
    classes=lambda root: CLASSES,
    open=open_splits,
    missing=lambda root: None if _folder(root) else _how_to_get(root),
    noncommercial=True,
)
