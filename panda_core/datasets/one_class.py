"""What a dataset is here: images with class names in two splits, and the one-class task cut from them."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from panda_core.datasets.io.masks import Masks
from panda_core.errors import UnreadableImage, UsageError


class Images(Protocol):
    """An ordered set of images that are decoded one by one, when asked for."""

    @property
    def names(self) -> Sequence[str]:
        """What to call each image in front of a person; unique within the set."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> np.ndarray:
        """Return the image as uint8 (H, W, 3), RGB; `UnreadableImage` where it cannot be decoded."""

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the stored content: equal digests, equal pixels."""

    def subset(self, indices: Sequence[int] | np.ndarray) -> Images:
        """Return the images at `indices`, in that order."""


class ChangedImages:
    """`images`, each changed, or refused, by `changed` when it is opened."""

    def __init__(self, images: Images) -> None:
        self.images = images

    @property
    def names(self) -> Sequence[str]:
        return self.images.names

    def __len__(self) -> int:
        return len(self.images)

    def changed(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return what becomes of an image, uint8 (H, W, 3); `UnreadableImage`, naming it, where it is refused."""
        raise NotImplementedError

    def load(self, index: int) -> np.ndarray:
        """Return the changed image as uint8 (H, W, 3), RGB; `UnreadableImage` where there is none."""
        return self.changed(self.images.load(index), self.names[index])

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the image as it is stored."""
        return self.images.digest(index)

    def subset(self, indices: Sequence[int] | np.ndarray) -> Self:
        """Return the images at `indices`, in that order, changed alike."""
        chosen = copy.copy(self)
        chosen.images = self.images.subset(indices)
        return chosen


@dataclasses.dataclass(frozen=True)
class LabelledSplits:
    """A dataset's own split, class names attached. labels: (N,) and (M,) arrays of str.

    test_masks: the defects of the test images, (M,); None for data that has no masks.
    left_out: (name, reason) of files that lie there and take no part, unread formats for instance.
    loose_masks: the same of masks that belong to no test image.
    """

    train: Images
    train_labels: np.ndarray
    test: Images
    test_labels: np.ndarray
    normal_label: str
    test_masks: Masks | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    loose_masks: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class OneClassTask:
    """Normal images to learn from, and a labelled test set. No method sees more of the labels than this.

    is_anomaly: (M,) uint8, 0 normal and 1 anomalous; used only to draw curves.
    masks: the defects of the test images, (M,), used only to measure maps; None for data that has no masks.
    kinds: (M,) of str, what each test image is called in tables of results; None where nothing is called anything.
    reserved: (R,) rows of `train` that calibrate the threshold and that nothing is learned from.
    left_out: (name, reason) of files that lie there and take no part.
    loose_masks: the same of masks that belong to no test image.
    """

    train: Images
    test: Images
    is_anomaly: np.ndarray
    masks: Masks | None = None
    kinds: np.ndarray | None = None
    reserved: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    left_out: tuple[tuple[str, str], ...] = ()
    loose_masks: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A row of `DATASETS`.

    classes: (data root) -> names that can be picked as the normal class; works without the data where it can.
    open: (data root, normal class, seed) -> its splits; raises `DataMissing` with what to get and where to put it.
    missing: (data root) -> None if the data is here, else the sentence of that `DataMissing`.
    image_size: the input side, in pixels, at which it is adapted unless the user says otherwise.
    noncommercial: whether its licence forbids commercial use.
    download: (data root) -> None, fetches it from its official place; None where that has to be done by hand.
    """

    key: str
    title: str
    about: str
    source: str
    licence: str
    citation: str
    image_size: int
    classes: Callable[[Path], tuple[str, ...]]
    open: Callable[[Path, str, int], LabelledSplits]
    missing: Callable[[Path], str | None]
    noncommercial: bool = False
    download: Callable[[Path], None] | None = None


def one_class_task(
    splits: LabelledSplits, *, train_limit: int | None, test_limit: int | None, seed: int
) -> OneClassTask:
    """Return the task of the paper's protocol: train on the normal class alone, test on the full test split.

    With a limit, a seeded subset is taken: of the test set the same number from every class (as near as the
    classes allow), whatever the normal class, so that all tasks of a dataset share one test set. Order is kept.
    """
    (normal,) = np.nonzero(splits.train_labels == splits.normal_label)
    if len(normal) < 2:
        raise UsageError(
            f"Class `{splits.normal_label}` has {len(normal)} normal training image(s); at least 2 are needed. "
            "Add images or pick another class with `--normal-class`."
        )
    train_rows = normal[balanced_subset(splits.train_labels[normal], train_limit, seed)]
    test_rows = balanced_subset(splits.test_labels, test_limit, seed)
    return OneClassTask(
        train=splits.train.subset(train_rows),
        test=splits.test.subset(test_rows),
        is_anomaly=(splits.test_labels[test_rows] != splits.normal_label).astype(np.uint8),
        masks=None if splits.test_masks is None else splits.test_masks.subset(test_rows),
        kinds=splits.test_labels[test_rows],
        left_out=splits.left_out,
        loose_masks=splits.loose_masks,
    )


def balanced_subset(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Return ascending indices of at most `limit` items, as many from each label as possible.

    labels: (N,). A label with fewer items than its share gives all it has; the rest is shared among the others.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.nonzero(labels == label)[0]) for label in np.unique(labels)]
    taken: list[np.ndarray] = []
    groups.sort(key=len)
    for place, group in enumerate(groups):
        share = (limit - sum(map(len, taken))) // (len(groups) - place)
        taken.append(group[:share])
    return np.sort(np.concatenate(taken))


def stratified_split(labels: np.ndarray, train_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ascending indices of a seeded split into (train, test), cut within each label; labels: (N,).

    For data published without a split of its own. Each label gives `train_fraction` of its items, rounded to the
    nearest whole number, to train; another seed gives another split.
    """
    rng = np.random.default_rng(seed)
    in_train = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.nonzero(labels == label)[0])
        in_train[rows[: round(train_fraction * len(rows))]] = True
    return np.nonzero(in_train)[0], np.nonzero(~in_train)[0]


def split_digest(images: Images) -> str:
    """Return the SHA-256, in hex, of the ordered contents of `images`."""
    return hashlib.sha256(b"".join(digest or b"unreadable" for digest in digests(images))).hexdigest()


def digests(images: Images) -> list[bytes]:
    """Return the digest of each image; nothing of one that cannot be read: it is named where it is decoded."""
    found = []
    for index in range(len(images)):
        try:
            found.append(images.digest(index))
        except UnreadableImage:
            found.append(b"")
    return found
