"""DIOR: which objects count, and that their pixels are those inside of their boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import find_class, one_class_task
from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.sets.dior import CLASSES, DIOR
from panda_core.errors import DataMissing, UnreadableImage, UsageError

Publish = Callable[[str], Path]
BOXES = "dior/Annotations/Horizontal Bounding Boxes"


def test_kinds_with_more_than_fifty_large_objects(publish: Publish) -> None:
    """Guards: 120 x 129 counted as larger than 120 x 120; 50 as more than 50; kinds tested that do not count."""
    root = publish("dior")
    assert DIOR.classes(root / "nowhere") == CLASSES and DIOR.classes(root) == ("airplane", "ship")
    splits = DIOR.open(root, "ship", 0)
    assert np.unique(splits.train_labels, return_counts=True)[1].tolist() == [51, 51]
    assert sorted(splits.test_labels) == ["airplane"] * 3 + ["ship"] * 2
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert len(task.train) == 51 and all(name.startswith("ship/") for name in task.train.names)
    assert task.is_anomaly.sum() == 3
    with pytest.raises(UsageError, match="Unknown class of `dior` `dam`"):
        find_class(DIOR, root, "dam")


def test_pixels_are_those_of_the_box(publish: Publish) -> None:
    """Guards: rows and columns exchanged, a margin, an object cut out of another image."""
    root = publish("dior")
    splits = DIOR.open(root, "airplane", 0)
    whole = decode_image(root / "dior/JPEGImages-trainval/00001.jpg")
    assert splits.train.names[1] == "airplane/00001-2"  # the second box: 130 pixels to the right
    part = splits.train.load(1)
    assert part.shape == (122, 121, 3) and part.flags.c_contiguous
    np.testing.assert_array_equal(part, whole[0:122, 130:251])
    again = splits.train.subset([5, 1])
    np.testing.assert_array_equal(again.load(1), part)
    assert again.names == (splits.train.names[5], "airplane/00001-2")
    digests = [splits.train.digest(row) for row in range(len(splits.train))]
    assert len(set(digests)) == len(digests) and again.digest(1) == digests[1]


def test_annotations_without_the_inner_folder_and_boxes_at_the_border(publish: Publish) -> None:
    """Guards: a repacked copy refused; a box that leaves the image by some pixels read from the other side."""
    root = publish("dior")
    path = root / BOXES / "00001.xml"
    text = path.read_text()
    path.write_text(text.replace("<xmin>0</xmin>", "<xmin>-3</xmin>", 1).replace("airplane", "Airplane"))
    for annotation in sorted((root / BOXES).iterdir()):
        annotation.rename(root / "dior/Annotations" / annotation.name)
    (root / BOXES).rmdir()
    part = DIOR.open(root, "airplane", 0).train.load(0)
    assert part.shape == (122, 121, 3)
    (root / "dior/Annotations/00001.xml").write_text(
        text.replace("<xmin>0</xmin>", "<xmin>900</xmin>", 1).replace("<xmax>121</xmax>", "<xmax>1100</xmax>", 1)
    )
    (root / "dior/Annotations/99999.xml").write_text("<annotation/>")  # so that the folder is seen to have changed
    with pytest.raises(UnreadableImage, match="its box lies outside"):
        DIOR.open(root, "airplane", 0).train.load(0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<annotation><object>", "is no annotation of boxes"),
        ("<annotation><object><name>ship</name></object></annotation>", "is no annotation of boxes"),
        ("<annotation><object><name>zeppelin</name></object></annotation>", "names the object 'zeppelin'; known: airp"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "it declares entities"),
    ],
)
def test_other_annotations_are_refused(content: str, reason: str, publish: Publish) -> None:
    """Guards: objects lost in silence; XML that grows without end or reads other files."""
    root = publish("dior")
    (root / BOXES / "00001.xml").write_text(content)
    with pytest.raises(UsageError, match=rf"00001\.xml` {reason}|00001\.xml` .*{reason}"):
        DIOR.open(root, "airplane", 0)
    assert DIOR.classes(root) == CLASSES  # forms still draw; opening it says what is wrong


def test_missing_data_is_described(publish: Publish) -> None:
    """Guards: images without their boxes taken for the data set; a sentence without place, names and folder."""
    root = publish("dior")
    (root / BOXES / "00001.xml").unlink()
    with pytest.raises(UsageError, match=r"00001\.xml` cannot be read: No such file"):
        DIOR.open(root, "airplane", 0)
    for path in (root / BOXES).iterdir():
        path.unlink()
    with pytest.raises(DataMissing) as caught:
        DIOR.open(root, "airplane", 0)
    for part in ("JPEGImages-trainval.zip", "GB", "gcheng-nwpu.github.io", str(root / "dior")):
        assert part in str(caught.value)
