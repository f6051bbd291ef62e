"""Images with as little detail as others have: shrunk before anything else sees them."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from panda_core.datasets.one_class import ChangedImages, Images
from panda_core.errors import UnreadableImage

LOOKED_AT = 50  # images whose sizes stand for all


class SmallerImages(ChangedImages):
    """`images`, each shrunk so that its short side has at most `side` pixels; smaller ones are left alone."""

    def __init__(self, images: Images, side: int) -> None:
        super().__init__(images)
        self.side = side

    def changed(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), shrunk."""
        scale = self.side / min(image.shape[:2])
        if scale >= 1:
            return image
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the stored content and of the side it is shrunk to."""
        return hashlib.sha256(self.images.digest(index) + f"short side {self.side}".encode()).digest()


def looked_at(count: int) -> list[int]:
    """Return the rows, among so many images, whose sizes stand for all: spread evenly, since names sort by kind."""
    return [int(row) for row in np.linspace(0, count - 1, min(count, LOOKED_AT)).round()]


def typical_side(images: Images) -> int:
    """Return the median short side, in pixels, of `looked_at` images; 1 where none can be decoded."""
    sides = []
    for index in looked_at(len(images)):
        try:
            sides.append(min(images.load(index).shape[:2]))
        except UnreadableImage:  # named elsewhere, when the split is read
            continue
    return int(np.median(sides)) if sides else 1
