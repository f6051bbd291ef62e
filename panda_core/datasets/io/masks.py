"""Defect masks: which pixels of a test image are defective. They measure localisation; nothing is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from panda_core.datasets.io.decoding import decode_image
from panda_core.errors import PandaError, UnreadableImage

THRESHOLD = 127  # masks are published anti-aliased, or saved as JPEG: brighter than the middle counts as defective


class Masks(Protocol):
    """An ordered set of masks, one for each image of a test set, read one by one when asked for."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> np.ndarray | None:
        """Return the mask as bool (H, W), True where defective, or None where it is unknown.

        It covers the whole upright image, as `Images.load` gives it, but may have another size, down to 1 x 1 for an
        image without defects: resize it by nearest neighbour. `UnreadableImage` where it cannot be read.
        """

    def subset(self, indices: Sequence[int] | np.ndarray) -> Masks:
        """Return the masks at `indices`, in that order."""


class FileMasks:
    """Masks in image files, bright where the image is defective.

    paths: one for each image, None where the image has no mask. clean: which images are free of defects; their
    masks are empty, whatever their path. A defective image whose mask is black all over counts as unknown: it has
    a defect somewhere that nobody has marked.
    """

    def __init__(self, paths: Sequence[str | None], clean: Sequence[bool] | np.ndarray) -> None:
        if len(paths) != len(clean):
            raise PandaError(f"{len(paths)} masks need to know which of their images are clean; got {len(clean)}.")
        self._paths, self._clean = tuple(paths), tuple(bool(item) for item in clean)

    def __len__(self) -> int:
        return len(self._paths)

    def load(self, index: int) -> np.ndarray | None:
        """Return the mask as bool (H, W), True where defective, or None; `UnreadableImage` names a bad file."""
        if self._clean[index]:
            return np.zeros((1, 1), dtype=bool)
        path = self._paths[index]
        if path is None:
            return None
        bright = decode_image(path).max(axis=2)  # (H, W); a mask drawn in one colour counts like a white one
        mask = bright > THRESHOLD
        if mask.any():
            return mask
        if bright.any():  # values 0 and 1, for instance, which would pass for a mask that marks nothing
            raise UnreadableImage(
                f"`{path}` is too dark for a mask: its brightest value is {bright.max()}, and a defect is marked by "
                f"more than {THRESHOLD}. Save it with 0 and 255."
            )
        return None

    def subset(self, indices: Sequence[int] | np.ndarray) -> FileMasks:
        """Return the masks at `indices`, in that order."""
        return FileMasks([self._paths[row] for row in indices], [self._clean[row] for row in indices])
