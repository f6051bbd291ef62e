"""White blood cells and images of the gut: splits by the seed, as their protocols round them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import one_class_task
from panda_core.datasets.sets.hyper_kvasir import HYPER_KVASIR
from panda_core.datasets.sets.wbc import CLASSES, WBC
from panda_core.errors import DataMissing, UsageError

Publish = Callable[[str], Path]
TABLE = "wbc/Class Labels of Dataset 1.csv"


def counts(labels: np.ndarray) -> dict[str, int]:
    return {name: int(np.sum(labels == name)) for name in CLASSES}


def test_four_fifths_rounded_down(publish: Publish) -> None:
    """Guards: rounding to nearest (60 test images instead of 62); the basophil kept; drawings of nuclei as images."""
    splits = WBC.open(publish("wbc"), "monocyte", 0)
    assert counts(splits.train_labels) == {"neutrophil": 8, "lymphocyte": 4, "monocyte": 4, "eosinophil": 7}
    assert counts(splits.test_labels) == {"neutrophil": 3, "lymphocyte": 2, "monocyte": 1, "eosinophil": 2}
    names = [*splits.train.names, *splits.test.names]
    assert len(set(names)) == 31 and "032.bmp" not in names and all(name.endswith(".bmp") for name in names)


def test_cells_keep_their_labels_and_sizes(publish: Publish) -> None:
    """Guards: labels joined with images in another order; the split of one seed for all."""
    root = publish("wbc")
    splits = WBC.open(root, "monocyte", 0)
    for images, labels in ((splits.train, splits.train_labels), (splits.test, splits.test_labels)):
        for row, name in enumerate(images.names):
            number = int(name[:3])
            label = CLASSES[0 if number <= 11 else 1 if number <= 17 else 2 if number <= 22 else 3]
            assert labels[row] == label and images.load(row).shape[:2] == (12 - number % 2,) * 2
    assert len({tuple(WBC.open(root, "monocyte", seed).train.names) for seed in range(4)}) > 1


@pytest.mark.parametrize("line", ["1", "1,6", "1,0", "one,2", "1,2,3", "-1,2"])
def test_tables_of_another_form_are_refused(line: str, publish: Publish) -> None:
    """Guards: a sixth kind, or a line without a label, that shifts the rest."""
    root = publish("wbc")
    rows = (root / TABLE).read_text().splitlines()
    (root / TABLE).write_text("\n".join([rows[0], line, *rows[2:]]))
    with pytest.raises(UsageError, match=rf"Line 2 of `.*` must be .* got `{line}`"):
        WBC.open(root, "monocyte", 0)


def test_real_counts(real_data: Path) -> None:
    """Guards: another rounding than the paper's 140/42/38/17 and 62 (methods, section 6)."""
    if WBC.missing(real_data):
        pytest.skip("real data: no wbc/ in PANDA_DATA")
    splits = WBC.open(real_data, "eosinophil", 0)
    assert list(counts(splits.train_labels).values()) == [140, 42, 38, 17]
    assert list(counts(splits.test_labels).values()) == [36, 11, 10, 5] and len(splits.test) == 62
    sizes = {splits.train.load(row).shape for row in range(len(splits.train))}
    assert len(sizes) > 10 and {side for shape in sizes for side in shape[:2]} <= set(range(80, 131))


def test_a_healthy_colon_against_polyps(publish: Publish) -> None:
    """Guards: haemorrhoids or an unclean bowel counted as healthy; a finding missing from one half."""
    root = publish("hyper_kvasir")
    splits = HYPER_KVASIR.open(root, "healthy", 0)
    assert len(splits.train) == 16 + 2 + 8 and set(splits.train_labels) == {"healthy"}
    assert splits.test_labels.tolist() == ["healthy"] * (5 + 0 + 2) + ["polyps"] * 5
    for name, label in zip(splits.test.names, splits.test_labels, strict=True):
        assert name.startswith("lower-gi-tract/") and (("/polyps/" in name) == (label == "polyps"))
        assert "retroflex" not in name and "bbps-0-1" not in name and "hemorrhoids" not in name
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert task.is_anomaly.sum() == 5 and len(task.train) == 26
    assert len({tuple(HYPER_KVASIR.open(root, "healthy", seed).train.names) for seed in range(4)}) == 4


def test_missing_data_is_described(publish: Publish) -> None:
    """Guards: an empty or missing finding passed over; a sentence without place, name, size and folder."""
    root = publish("hyper_kvasir")
    finding = root / "hyper_kvasir/labeled-images/lower-gi-tract/pathological-findings/polyps"
    for path in finding.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="polyps` holds no images"):
        HYPER_KVASIR.open(root, "healthy", 0)
    finding.rmdir()
    wanted = r"hyper-kvasir-labeled-images\.zip \(3\.9 GB\) from https://datasets\.simula\.no.*polyps"
    with pytest.raises(DataMissing, match=wanted):
        HYPER_KVASIR.open(root, "healthy", 0)
    with pytest.raises(DataMissing, match=r"zxaoyou/segmentation_WBC.*`Class Labels of Dataset 1\.csv`"):
        WBC.open(root, "monocyte", 0)
