"""The region of interest: what of a picture counts. One for all pictures of a run, which are in its shape.

What lies outside is painted over with one colour before anything looks at it (`Region.painted`), so that no score, map
or threshold depends on it. What a network sees is painted once more, wherever resizing mixed paint and picture
(`Region.whole`): an exported graph, which gets resized pictures, then sees the same. Light: no torch.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import cv2
import numpy as np

from panda_core.errors import UnreadableImage

PAINT = (124, 116, 104)  # the mean colour of ImageNet: about nothing, to a network pretrained on it


class Region:
    """Pixels (H, W) that count, True, of pictures in that shape, whatever their size. sha256: of what is marked."""

    def __init__(self, marked: np.ndarray) -> None:
        self.marked = np.ascontiguousarray(marked, bool)
        content = repr(self.marked.shape).encode() + np.packbits(self.marked).tobytes()
        self.sha256 = hashlib.sha256(content).hexdigest()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.marked.shape[0], self.marked.shape[1]

    def check_fits(self, image: np.ndarray, name: str) -> None:
        """Raise `UnreadableImage`, naming the image (H, W, 3), where it is not in the region's shape up to rounding."""
        size, own = image.shape[1::-1], self.shape[::-1]
        if not same_shape((size[0], size[1]), own):
            raise UnreadableImage(
                f"`{name}` has {size[0]} x {size[1]} pixels, the region of interest {own[0]} x {own[1]}: not the same "
                "shape, so nothing tells what of the image counts. Crop the image as the others are, or learn without "
                "a region."
            )

    def inside(self, shape: tuple[int, int]) -> np.ndarray:
        """Return which pixels of a picture of `shape` (height, width) count: those whose centers do, bool."""
        return _inside(self, shape)

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return which places count: bool (R, C). rows (R,), columns (C,): in shares of height and width."""
        places = [
            np.clip(np.floor(np.asarray(shares) * count).astype(int), 0, count - 1)
            for shares, count in zip((rows, columns), self.shape, strict=True)
        ]
        return self.marked[places[0]][:, places[1]]

    def painted(self, image: np.ndarray) -> np.ndarray:
        """Return a copy of an image (H, W, 3), uint8, with what does not count painted over."""
        painted = np.empty_like(image)
        painted[:] = PAINT
        inside = self.inside((image.shape[0], image.shape[1]))
        return np.asarray(cv2.copyTo(image, inside.view(np.uint8), painted))  # ten times as fast as an index

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return the smallest rectangle of an image (H, W, 3) that holds all that counts."""
        inside = self.inside((image.shape[0], image.shape[1]))
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return image  # smaller than a pixel of this image
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def whole(self, side: int, reach: float, box: tuple[float, float, float, float]) -> np.ndarray:
        """Return which pixels (side, side) of a resized picture are made of pixels that count alone: bool.

        reach: of the filter, in pixels of the resized picture. box: the part that was resized, (left, top, right,
        bottom) in shares of the picture. Exact where the picture is not enlarged.
        """
        return _whole(self, side, reach, box)


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether one (width, height) can be the other, scaled and rounded to whole pixels."""
    small, large = sorted((size, other))
    lowest = max((side - 1) / whole for side, whole in zip(small, large, strict=True))
    highest = min((side + 1) / whole for side, whole in zip(small, large, strict=True))
    return lowest < highest


@lru_cache(maxsize=8)
def _inside(region: Region, shape: tuple[int, int]) -> np.ndarray:
    rows, columns = ((np.arange(count) + 0.5) / count for count in shape)
    found = region.at(rows, columns)
    found.setflags(write=False)  # it is handed out again
    return found


@lru_cache(maxsize=64)
def _whole(region: Region, side: int, reach: float, box: tuple[float, float, float, float]) -> np.ndarray:
    outside = cv2.integral((~region.marked).astype(np.uint8))  # (H + 1, W + 1): how many above and to the left
    centers, edges = np.arange(side) + 0.5, []
    for low, high, count in ((box[1], box[3], region.shape[0]), (box[0], box[2], region.shape[1])):
        unit = (high - low) / side
        first = np.floor(np.clip((low + (centers - reach) * unit) * count, 0, count - 1)).astype(int)
        last = np.ceil(np.clip((low + (centers + reach) * unit) * count, 1, count)).astype(int)
        edges.append((first, np.maximum(last, first + 1)))
    (top, bottom), (left, right) = edges
    counts = [outside[rows][:, columns] for rows in (bottom, top) for columns in (right, left)]
    found = np.asarray(counts[0] - counts[1] - counts[2] + counts[3] == 0)
    found.setflags(write=False)
    return found
