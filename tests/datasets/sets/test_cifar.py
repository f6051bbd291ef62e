"""CIFAR from the official pickles, read as data only, and from class folders; CIFAR-100 by its coarse classes."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import one_class_task
from panda_core.datasets.sets.cifar10 import CIFAR10, CLASSES
from panda_core.datasets.sets.cifar100 import CIFAR100, COARSE_OF_FINE
from panda_core.datasets.sets.cifar100 import CLASSES as COARSE_CLASSES
from panda_core.datasets.sets.cifar_pickle import read_cifar_batch
from panda_core.errors import DataMissing, UsageError


def test_a_batch_equals_what_plain_pickle_reads(tmp_path: Path, cifar_batch: Callable[..., bytes]) -> None:
    """Guards: planes, rows or labels permuted; the oracle is the loading code of the official page."""
    content = cifar_batch([3, 9, 0, 5])
    (tmp_path / "batch").write_bytes(content)
    images, labels, _ = read_cifar_batch(tmp_path / "batch", ("labels", 10))
    official = pickle.Unpickler(io.BytesIO(content), encoding="bytes").load()
    assert images.shape == (4, 32, 32, 3) and images.dtype == np.uint8 and images.flags.c_contiguous
    for row, column, channel in ((0, 0, 0), (0, 5, 1), (7, 31, 2), (31, 0, 1)):
        expected = official[b"data"][:, channel * 1024 + row * 32 + column]
        np.testing.assert_array_equal(images[:, row, column, channel], expected)
    assert labels.tolist() == official[b"labels"] == [3, 9, 0, 5]


def test_python_3_pickles_and_fortran_order_are_read(tmp_path: Path, cifar_batch: Callable[..., bytes]) -> None:
    """Guards: a batch saved again by a newer Python refused, or an array in column order read as noise."""
    data = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    expected = data.reshape(3, 3, 32, 32).transpose(0, 2, 3, 1)
    contents = [
        pickle.dumps({key[0]: array, key[1]: [0, 1, 2]}, protocol=protocol)
        for protocol in range(2, 6)
        for key in (("data", "labels"), (b"data", b"labels"))
        for array in (data, np.asfortranarray(data))
    ]
    for content in [*contents, cifar_batch([0, 1, 2], np.asfortranarray(data))]:
        (tmp_path / "batch").write_bytes(content)
        np.testing.assert_array_equal(read_cifar_batch(tmp_path / "batch", ("labels", 10))[0], expected)


class Payload:
    """Unpickled, it creates the file `canary`."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.canary,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_never_executes(protocol: int, tmp_path: Path) -> None:
    """Guards: code run by opening a data set somebody sent. The payload is shown to work with plain pickle."""
    harmful = pickle.dumps({b"labels": [0], b"data": Payload(tmp_path / "canary")}, protocol=protocol)
    (tmp_path / "batch").write_bytes(harmful)
    with pytest.raises(UsageError, match=r"is no CIFAR batch: it asks for `posix.mkdir`.*official archive"):
        read_cifar_batch(tmp_path / "batch", ("labels", 10))
    assert not (tmp_path / "canary").exists()
    pickle.Unpickler(io.BytesIO(harmful)).load()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cpanda_core.datasets.cifar_pickle\npickle.loads\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"",
        b"text",
        pickle.dumps([1, 2]),
        pickle.dumps({b"labels": [0]}),
        pickle.dumps({b"labels": [0], b"data": [[0] * 3072]}),
        pickle.dumps({b"labels": [0], b"data": np.zeros((1, 3072), np.float32)}, protocol=3),
        pickle.dumps({b"labels": [0], b"data": np.zeros((1, 3071), np.uint8)}, protocol=3),
        pickle.dumps({b"labels": [0, 1], b"data": np.zeros((1, 3072), np.uint8)}, protocol=3),
        pickle.dumps({b"labels": [10], b"data": np.zeros((1, 3072), np.uint8)}, protocol=3),
        pickle.dumps({b"labels": "x", b"data": np.zeros((1, 3072), np.uint8)}, protocol=3),
    ],
)
def test_what_is_no_batch_ends_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    """Guards: other globals let through; damaged or foreign files that fail with a traceback or pass as data."""
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(UsageError, match=r"`.*batch` is no CIFAR batch: "):
        read_cifar_batch(tmp_path / "batch", ("labels", 10))


def test_a_pickle_cannot_spoil_later_ones(tmp_path: Path, cifar_batch: Callable[..., bytes]) -> None:
    """Guards: a file that sets attributes on the record classes, so that the next, honest file is misread."""
    setting = b"c%s\n(N}U\x08__init__K\x01stb."
    for place in (b"numpy\nndarray", b"numpy\ndtype", b"_codecs\nencode", b"numpy.core.numeric\n_frombuffer"):
        (tmp_path / "bad").write_bytes(setting % place)
        with pytest.raises(UsageError):
            read_cifar_batch(tmp_path / "bad", ("labels", 10))
    (tmp_path / "good").write_bytes(cifar_batch([1, 2]))
    assert read_cifar_batch(tmp_path / "good", ("labels", 10))[1].tolist() == [1, 2]


def test_official_pickles_are_opened(cifar_root: Path) -> None:
    """Guards: a batch left out, labels of one batch on another's images, train and test exchanged."""
    splits = CIFAR10.open(cifar_root, "cat", 0)
    assert CIFAR10.missing(cifar_root) is None
    assert len(splits.train) == len(splits.train_labels) == 100 and len(splits.test) == len(splits.test_labels) == 20
    assert splits.train_labels[:20].tolist() == list(CLASSES) * 2
    assert splits.train.names[3] == "train/cat/00003" and splits.test.names[0] == "test/airplane/00000"
    np.testing.assert_array_equal(splits.train.load(1)[0, :4, 0], np.arange(4))
    np.testing.assert_array_equal(splits.train.load(1)[0, 0], [0, 1024 % 256, 2048 % 256])


def test_class_folders_are_opened(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: PNG refused, classes in another order than the official one, train and test exchanged."""
    for split, count in (("train", 3), ("test", 2)):
        for label in CLASSES:
            write_images(tmp_path / "cifar10_images" / split / label, *(f"{row:04d}.jpg" for row in range(count)))
    write_images(tmp_path / "cifar10_images" / "test" / "cat", "9999.png")
    splits = CIFAR10.open(tmp_path, "dog", 0)
    assert splits.train_labels.tolist() == [label for label in CLASSES for _ in range(3)]
    assert len(splits.test) == 21 and splits.test.names[0] == "test/airplane/0000.jpg"
    assert splits.test.load(20).shape == (6, 5, 3)


def test_official_pickles_win_over_folders(cifar_root: Path, write_images: Callable[..., None]) -> None:
    """Guards: figures measured on re-encoded images although the official ones are there."""
    for split in ("train", "test"):
        write_images(cifar_root / "cifar10_images" / split, "cat/1.png")
    assert len(CIFAR10.open(cifar_root, "cat", 0).train) == 100


def test_missing_data_is_described(tmp_path: Path, cifar_root: Path, write_images: Callable[..., None]) -> None:
    """Guards: a FileNotFoundError instead of what to fetch, how large it is and where to put it."""
    with pytest.raises(DataMissing) as caught:
        CIFAR10.open(tmp_path, "cat", 0)
    sentence = str(caught.value)
    assert sentence == CIFAR10.missing(tmp_path)
    for part in ("https://www.cs.toronto.edu/~kriz/cifar.html", "cifar-10-python.tar.gz", "163 MB"):
        assert part in sentence
    for place in ("cifar-10-batches-py/data_batch_1", "cifar10_images/train/airplane"):
        assert str(tmp_path / place) in sentence
    (cifar_root / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DataMissing, match=r"lacks data_batch_4"):
        CIFAR10.open(cifar_root, "cat", 0)
    write_images(tmp_path / "cifar10_images" / "train", "cat/1.png")
    with pytest.raises(DataMissing, match=r"lacks test"):
        CIFAR10.open(tmp_path, "cat", 0)


def test_foreign_folders_are_refused(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: a misspelt class counted as an eleventh; empty folders taken for data."""
    root = tmp_path / "cifar10_images"
    write_images(root, "train/cat/1.png", "train/plane/1.png", "test/cat/1.png")
    with pytest.raises(UsageError, match=r"`plane` is none of them"):
        CIFAR10.open(tmp_path, "cat", 0)
    (root / "train" / "plane" / "1.png").unlink()
    (root / "test" / "cat" / "1.png").unlink()
    with pytest.raises(UsageError, match=r"`.*test` must hold .*there are no images"):
        CIFAR10.open(tmp_path, "cat", 0)


def test_real_class_folders(real_data: Path) -> None:
    """Guards: counts and colours of the real images; a test set that changes with the normal class."""
    if not (real_data / "cifar10_images").is_dir():
        pytest.skip("real data: no cifar10_images/ in PANDA_DATA")
    splits = CIFAR10.open(real_data, "frog", 0)
    assert [np.sum(splits.train_labels == label) for label in CLASSES] == [5000] * 10
    assert set(splits.train.names).isdisjoint(splits.test.names)
    means = np.mean([splits.train.load(row) for row in range(0, 50_000, 500)], axis=(0, 1, 2))
    np.testing.assert_allclose(means, [125.3, 123.0, 113.9], atol=8)  # the published channel means; blue is lowest


Publish = Callable[[str], Path]


def test_a_coarse_class_against_all_others(publish: Publish) -> None:
    """Guards: fine classes taken for coarse ones; another class trained on; a test set cut down to two classes."""
    root = publish("cifar100")
    for number, name in enumerate(COARSE_CLASSES):
        task = one_class_task(CIFAR100.open(root, name, 0), train_limit=None, test_limit=None, seed=0)
        assert len(task.train) == 10 and len(task.test) == 100 and task.is_anomaly.sum() == 95
        assert all(image.startswith(f"train/{name}/") for image in task.train.names)
        assert task.kinds is not None and set(task.kinds[task.is_anomaly == 0]) == {name}
        assert {int(image[-5:]) % 100 for image in task.train.names} == set(np.nonzero(number == COARSE_OF_FINE)[0])


def test_the_map_from_fine_classes() -> None:
    """Guards: a slip in the hundred numbers (methods, section 6: every coarse class occurs five times)."""
    assert np.bincount(COARSE_OF_FINE).tolist() == [5] * 20
    assert [COARSE_CLASSES[COARSE_OF_FINE[fine]] for fine in (0, 54, 98, 2, 47, 88, 69)] == [
        "fruit_and_vegetables",  # apple
        "flowers",  # orchid
        "people",  # woman
        "people",  # baby
        "trees",  # maple
        "large_carnivores",  # tiger
        "vehicles_2",  # rocket
    ]


def test_files_with_fine_labels_alone(publish: Publish, pickled: Callable[[object], bytes]) -> None:
    """Guards: coarse labels that differ between the two ways to them; a file with both read by its fine ones."""
    root = publish("cifar100")
    official = CIFAR100.open(root, "trees", 0)
    fine = list(range(100))
    data = np.zeros((100, 3072), np.uint8)
    path = root / "cifar-100-python" / "test"
    path.write_bytes(pickled({"fine_labels": fine, "data": data}))
    np.testing.assert_array_equal(CIFAR100.open(root, "trees", 0).test_labels, official.test_labels)
    path.write_bytes(pickled({"fine_labels": fine, "coarse_labels": [3] * 100, "data": data}))
    assert set(CIFAR100.open(root, "trees", 0).test_labels) == {COARSE_CLASSES[3]}
    path.write_bytes(pickled({"labels": fine, "data": data}))
    with pytest.raises(UsageError, match="is no CIFAR batch: it has no entry 'coarse_labels'"):
        CIFAR100.open(root, "trees", 0)


def test_missing_coarse_classes_are_described(publish: Publish) -> None:
    """Guards: half an archive taken for all of it; a sentence without place, name, size and command."""
    root = publish("cifar100")
    assert CIFAR100.missing(root) is None
    (root / "cifar-100-python" / "test").unlink()
    with pytest.raises(DataMissing) as caught:
        CIFAR100.open(root, "trees", 0)
    for part in ("cifar-100-python.tar.gz (161 MB)", "toronto.edu", str(root), "datasets --download cifar100"):
        assert part in str(caught.value)
