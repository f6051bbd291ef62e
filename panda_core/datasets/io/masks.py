"""Defect masks: which pixels of a test image are defective. They measure localisation; nothing is trained on them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from panda_core.datasets.io.headers import stored_size
from panda_core.datasets.io.listing import shown_name
from panda_core.datasets.io.mask_pixels import read_mask
from panda_core.datasets.io.samples import turned
from panda_core.errors import PandaError, UnreadableImage
from panda_core.region import same_shape


class Masks(Protocol):
    """An ordered set of masks, one for each image of a test set, read one by one when asked for."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> np.ndarray | None:
        """Return the mask as bool (H, W), True where defective, or None where there is none.

        It covers the whole upright image, as `Images.load` gives it, but may have another size, down to 1 x 1 for an
        image without defects: resize it by nearest neighbour. `UnreadableImage` says why a mask cannot be used.
        """

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of what a mask is read from; nothing for an image that has none."""

    def subset(self, indices: Sequence[int] | np.ndarray) -> Masks:
        """Return the masks at `indices`, in that order."""


class FileMasks:
    """Masks in image files; what a file marks, `panda_core.datasets.io.mask_pixels` says.

    files: for each image the places of its masks in `folder`, none where it has none; what any of them marks is
    defective. images: the places of the images. clean: which of them have no defects; their masks must mark nothing.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[Sequence[str]],
        images: Sequence[str],
        clean: Sequence[bool] | np.ndarray,
    ) -> None:
        if not len(files) == len(images) == len(clean):
            raise PandaError(
                f"The masks of {len(files)} images need the places of the images and which are clean; got "
                f"{len(images)} places and {len(clean)} flags."
            )
        self._folder, self._files, self._images = folder, tuple(map(tuple, files)), tuple(images)
        self._clean = tuple(bool(item) for item in clean)

    def __len__(self) -> int:
        return len(self._files)

    def load(self, index: int) -> np.ndarray | None:
        """Return the mask as bool (H, W), True where defective, or None; `UnreadableImage` names a file and says why.

        A mask that marks a clean image, one that marks nothing of a defective one, and one of another shape than its
        image are not used: each tells that something is wrong.
        """
        files, clean = self._files[index], self._clean[index]
        if not files:
            return np.zeros((1, 1), dtype=bool) if clean else None
        image, first = self._images[index], shown_name(files[0])
        stored, turn = stored_size(f"{self._folder}/{image}", shown_name(image))
        parts = [self._fitted(file, stored, turn) for file in files]
        if any(part.shape != parts[0].shape for part in parts):
            raise UnreadableImage(f"`{first}` and the other masks of its image differ in size. Save them in one size.")
        mask = np.asarray(np.any(parts, axis=0))
        if clean and mask.any():
            raise UnreadableImage(
                f"`{first}` marks a defect in an image that is called normal. Move the image or remove the mask."
            )
        if not clean and not mask.any():
            raise UnreadableImage(
                f"`{first}` is black all over, though its image is called defective. Mark the defect, or remove it."
            )
        return mask

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the files of an image's masks; nothing for an image that has none.

        `UnreadableImage` for an absent file.
        """
        digest = hashlib.sha256()
        for place in self._files[index]:
            try:
                with open(f"{self._folder}/{place}", "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise UnreadableImage(f"`{shown_name(place)}` cannot be read: {error.strerror}.") from error
        return digest.digest() if self._files[index] else b""

    def ambiguous(self) -> list[int]:
        """Return the rows of masked photos whose EXIF turn keeps their sides: were the masks drawn before or after it?

        Nothing tells; `load` takes them as drawn over the photo as it is shown.
        """
        rows = []
        for row, (files, image) in enumerate(zip(self._files, self._images, strict=True)):
            if files and not self._clean[row]:
                try:
                    (width, height), turn = stored_size(f"{self._folder}/{image}", shown_name(image))
                except UnreadableImage:  # it is named where it is decoded
                    continue
                if turn in (2, 3, 4) or (turn >= 5 and width == height):
                    rows.append(row)
        return rows

    def _fitted(self, file: str, stored: tuple[int, int], turn: int) -> np.ndarray:
        name = shown_name(file)
        mask = read_mask(f"{self._folder}/{file}", name)
        return turned(mask, turn_of_mask((mask.shape[1], mask.shape[0]), stored, turn, name))

    def subset(self, indices: Sequence[int] | np.ndarray) -> FileMasks:
        """Return the masks at `indices`, in that order."""
        rows = [int(row) for row in indices]
        files, images, clean = ([of[row] for row in rows] for of in (self._files, self._images, self._clean))
        return FileMasks(self._folder, files, images, clean)  # type: ignore[arg-type]

    def with_unmarked(self, count: int) -> FileMasks:
        """Return the masks and, at their end, those of `count` defective images that nobody has marked: None each."""
        files, images = ((*of, *[nothing] * count) for of, nothing in ((self._files, ()), (self._images, "")))
        return FileMasks(self._folder, files, images, (*self._clean, *[False] * count))


def turn_of_mask(size: tuple[int, int], stored: tuple[int, int], turn: int, name: str) -> int:
    """Return the EXIF orientation by which a mask is to be turned to lie over the upright image; 1 for none.

    size: (width, height) of the mask. stored, turn: the same of the image as its file has it, and its orientation.
    A mask may be smaller or larger than its image, in the same shape up to rounding; `UnreadableImage` otherwise. One
    that was drawn over the stored pixels, where the turn of the photo exchanges its sides, is turned as the photo is.
    Where it exchanges none, nothing tells the two apart: the mask is taken as drawn over the photo as it is shown.
    """
    shown = stored[::-1] if turn >= 5 else stored
    if size == shown:
        return 1
    if turn >= 5 and (size == stored or (same_shape(size, stored) and not same_shape(size, shown))):
        return turn
    if same_shape(size, shown):
        return 1
    raise UnreadableImage(
        f"`{name}` has {size[0]} x {size[1]} pixels, its image {shown[0]} x {shown[1]}: not the same shape, so it is "
        "not stretched. Save it in the size of its image."
    )
