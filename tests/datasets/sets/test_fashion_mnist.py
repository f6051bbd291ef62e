"""Fashion-MNIST from its IDX files, packed or not; and files that are none."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import one_class_task
from panda_core.datasets.sets.fashion_mnist import CLASSES, FASHION_MNIST
from panda_core.errors import DataMissing, UsageError

Publish = Callable[[str], Path]
RAW = "FashionMNIST/raw"


def test_the_official_split(publish: Publish) -> None:
    """Guards: the header read as pixels, rows for columns, train and test exchanged, labels of other images."""
    root = publish("fashion_mnist")
    splits = FASHION_MNIST.open(root, "sneaker", 0)
    content = gzip.decompress((root / RAW / "t10k-images-idx3-ubyte.gz").read_bytes())
    reference = np.array(list(content[16:])).reshape(20, 28, 28)
    assert len(splits.train) == 30 and len(splits.test) == 20
    assert splits.test_labels.tolist() == list(CLASSES) * 2 and splits.test_labels[7] == "sneaker"
    for row in (0, 7, 19):
        image = splits.test.load(row)
        assert image.shape == (28, 28, 3)
        for channel in range(3):  # grey inputs give three equal channels
            np.testing.assert_array_equal(image[..., channel], reference[row])
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert len(task.train) == 3 and len(task.test) == 20 and np.nonzero(task.is_anomaly == 0)[0].tolist() == [7, 17]


def test_unpacked_files_are_read_alike(publish: Publish) -> None:
    """Guards: torchvision's unpacked files refused, or the four files looked for in one folder alone."""
    root = publish("fashion_mnist")
    before = FASHION_MNIST.open(root, "bag", 0)
    for path in (root / RAW).iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    (root / RAW).rename(root / "fashion_mnist")
    after = FASHION_MNIST.open(root, "bag", 0)
    assert [after.test.digest(row) for row in range(20)] == [before.test.digest(row) for row in range(20)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not packed", "cannot be unpacked"),
        (gzip.compress(b"abc"), "has 3 bytes, fewer than its header"),
        (gzip.compress(struct.pack(">4I", 0x0D03, 1, 28, 28) + bytes(784)), "begins with 0x00000d03"),
        (gzip.compress(struct.pack(">4I", 0x0803, 2, 28, 28) + bytes(784)), "promises 1568 values, and 784 follow"),
        (gzip.compress(struct.pack(">4I", 0x0803, 1, 28, 28) + bytes(784))[:-30], "cannot be unpacked"),
    ],
    ids=["not packed", "too short", "labels", "too few", "cut"],
)
def test_what_is_no_idx_file_ends_in_one_sentence(content: bytes, reason: str, publish: Publish) -> None:
    """Guards: a damaged download that is trained on, or ends in a traceback."""
    root = publish("fashion_mnist")
    (root / RAW / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(UsageError, match=rf"train-images-idx3-ubyte.gz` is no IDX file.*{reason}"):
        FASHION_MNIST.open(root, "bag", 0)


def test_images_without_labels_are_refused(publish: Publish) -> None:
    """Guards: labels of the training images put beside the test images."""
    root = publish("fashion_mnist")
    (root / RAW / "t10k-labels-idx1-ubyte.gz").write_bytes((root / RAW / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(UsageError, match=r"`t10k-images-idx3-ubyte` has 20 x 28 x 28 values and .* 30 labels"):
        FASHION_MNIST.open(root, "bag", 0)


def test_missing_data_is_described(publish: Publish) -> None:
    """Guards: three of four files taken for all; a sentence without place, names, size and command."""
    root = publish("fashion_mnist")
    (root / RAW / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataMissing) as caught:
        FASHION_MNIST.open(root, "bag", 0)
    for part in ("zalandoresearch", "31 MB", "t10k-labels-idx1-ubyte.gz", str(root), "--download fashion_mnist"):
        assert part in str(caught.value)
