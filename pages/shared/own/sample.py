"""Twenty sample parts for those who have no photos at hand: solar cells that come with the program."""

from __future__ import annotations

import io
import re
from pathlib import Path

from panda_core.config import default_data_root
from panda_core.datasets import FileImages, find_dataset
from panda_core.datasets.own.images import Source
from panda_core.datasets.own.layout import BY_FOLDER

PARTS = 20
# Cells by their number in ELPV: neighbours, hence of few modules, that look alike when they are whole.
_WHOLE = range(1111, 1135)
_DEFECTIVE = (1103, 1108, 1109, 1128, 1132)


def sample_parts() -> list[Source]:
    """Return files of monocrystalline cells, in a folder `good` and a folder `defective`; `DataMissing` without any."""
    splits = find_dataset("elpv").open(Path(default_data_root()), "mono", 0)
    cells: list[tuple[int, Path, bool]] = []
    for images, labels in ((splits.train, splits.train_labels), (splits.test, splits.test_labels)):
        if isinstance(images, FileImages):
            whole_ones = labels == splits.normal_label
            cells += [(_number(path), Path(path), one) for path, one in zip(images.paths, whole_ones, strict=True)]
    whole = [path for number, path, is_whole in sorted(cells) if is_whole and number in _WHOLE]
    defective = [path for number, path, is_whole in sorted(cells) if not is_whole and number in _DEFECTIVE]
    chosen = [("good", path) for path in whole[: PARTS - len(defective)]] + [("defective", path) for path in defective]
    return [(BY_FOLDER, f"{folder}/{path.name}", io.BytesIO(path.read_bytes())) for folder, path in chosen]


def _number(path: object) -> int:
    return int(re.sub(r"\D", "", Path(str(path)).stem) or 0)
