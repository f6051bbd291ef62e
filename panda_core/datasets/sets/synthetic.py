"""`synthetic:KEY`: another data set's normal images, and the same with defects drawn into them, masks included.

For whoever has no labels: it measures how well defects of four kinds are found and located on images of one's own
(`synthetic:folder:PATH`). What it measures is how easy these defects are, not how well real ones will be found.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from panda_core.datasets.one_class import Dataset, Images, LabelledSplits, stratified_split
from panda_core.datasets.sets.defects import KINDS, draw_defect
from panda_core.errors import UnreadableImage

PREFIX = "synthetic:"
NORMAL = "normal"
TRAIN_FRACTION = 0.7
VERSION = "synthetic defects 1"  # in the digests: another way of drawing must not meet features of the old images


@dataclasses.dataclass(frozen=True)
class _Item:
    """One image: row of the clean one; kind of its defect, "" for none; row of a clean image to take texture from."""

    row: int
    kind: str = ""
    donor: int = 0


class SyntheticImages:
    """Clean images, and the same with defects, which are drawn anew whenever one is asked for, always alike.

    clean: normal images. A defect follows from `seed` and the place of its image in `clean`, not from the subset.
    """

    def __init__(self, clean: Images, seed: int, items: Sequence[_Item]) -> None:
        self._clean, self._seed, self._items = clean, seed, tuple(items)
        self.names: Sequence[str] = tuple(
            clean.names[item.row] + (f" + {item.kind}" if item.kind else "") for item in items
        )

    @staticmethod
    def of(clean: Images, seed: int) -> SyntheticImages:
        """Return all of `clean`, then each of them once more with a defect; the kinds take turns."""
        count, kinds = len(clean), list(KINDS)
        donors = (np.arange(count) + np.random.default_rng(seed).integers(1, max(count, 2), count)) % max(count, 1)
        items = [_Item(row) for row in range(count)]
        items += [_Item(row, kinds[row % len(kinds)], int(donors[row])) for row in range(count)]
        return SyntheticImages(clean, seed, items)

    @property
    def kinds(self) -> list[str]:
        """The kind of each image's defect, "" for a clean one."""
        return [item.kind for item in self._items]

    def __len__(self) -> int:
        return len(self._items)

    def load(self, index: int) -> np.ndarray:
        """Return the image as uint8 (H, W, 3), RGB; `UnreadableImage` where the clean one cannot be decoded."""
        return self.with_mask(index)[0]

    def with_mask(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (the image, the mask of its defect as bool (H, W)); the mask is True exactly where it changed."""
        item = self._items[index]
        image = self._clean.load(item.row)
        if not item.kind:
            return image, np.zeros(image.shape[:2], dtype=bool)
        try:
            other = self._clean.load(item.donor) if item.kind == "texture" else image
        except UnreadableImage:  # it is named and counted at its own place
            other = image
        return draw_defect(image, item.kind, np.random.default_rng([self._seed, item.row]), other)

    def digest(self, index: int) -> bytes:
        """Return the clean image's digest, or the SHA-256 of all that a defective image follows from."""
        item = self._items[index]
        digest = self._clean.digest(item.row)
        if not item.kind:
            return digest
        whole = hashlib.sha256(f"{VERSION}|{item.kind}|{self._seed}|{item.row}|".encode() + digest)
        if item.kind == "texture":
            try:
                whole.update(self._clean.digest(item.donor))
            except UnreadableImage:
                whole.update(b"unreadable")
        return whole.digest()

    def subset(self, indices: Sequence[int] | np.ndarray) -> SyntheticImages:
        """Return the images at `indices`, in that order."""
        return SyntheticImages(self._clean, self._seed, [self._items[row] for row in indices])


class SyntheticMasks:
    """The masks of `SyntheticImages`."""

    def __init__(self, images: SyntheticImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> np.ndarray:
        """Return the mask as bool (H, W), True where the defect is; 1 x 1 and False for a clean image."""
        if not self._images.kinds[index]:
            return np.zeros((1, 1), dtype=bool)
        return self._images.with_mask(index)[1]

    def digest(self, index: int) -> bytes:
        """Return the digest of the image, from which its mask follows."""
        return self._images.digest(index)

    def subset(self, indices: Sequence[int] | np.ndarray) -> SyntheticMasks:
        """Return the masks at `indices`, in that order."""
        return SyntheticMasks(self._images.subset(indices))


def synthetic_dataset(inner: Dataset) -> Dataset:
    """Return the dataset `synthetic:KEY` of the dataset KEY.

    It trains on the normal images that `inner` trains on. Its test set are the normal test images, clean, and each
    of them once more with a defect. Where `inner` tests on no normal images, 30 % of its normal training images,
    chosen by the seed, are held out for this.
    """

    def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
        splits = inner.open(root, normal_class, seed)
        train = splits.train.subset(np.nonzero(splits.train_labels == splits.normal_label)[0])
        clean = splits.test.subset(np.nonzero(splits.test_labels == splits.normal_label)[0])
        if not len(clean):
            kept, held_out = stratified_split(np.full(len(train), NORMAL), TRAIN_FRACTION, seed)
            train, clean = train.subset(kept), train.subset(held_out)
        test = SyntheticImages.of(clean, seed)
        return LabelledSplits(
            train=train,
            train_labels=np.full(len(train), NORMAL),
            test=test,
            test_labels=np.array([kind or NORMAL for kind in test.kinds], dtype=str),
            normal_label=NORMAL,
            test_masks=SyntheticMasks(test),
        )

    return dataclasses.replace(
        inner,
        key=f"{PREFIX}{inner.key}",
        title=f"{inner.title}, synthetic defects",
        about=(
            f"Normal images of {inner.title}. The test set holds the normal test images, and each of them once more "
            f"with a defect drawn into it, with an exact mask: {', '.join(KINDS)} in turn. It measures how well these "
            "defects are found, not real ones."
        ),
        open=open_splits,
    )
