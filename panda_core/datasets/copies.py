"""Which images of a set are copies of one another: the same pixels, saved anew, resized, or the next of a burst.

A held-out image with a twin among those learned from scores too low, and so does the threshold: with copies among
the normal images, 20 to 45 % of fresh normal images were false alarms where 5 % were promised.

Copies are told by what they show, never by their names. Images with the same pixels are copies. So are two whose small
grey copies (32 x 32 pixels) differ by less than `SAVED_ANEW` levels, root mean square: at 128 pixels and more, JPEG of
quality 60, WebP, half the size and noise of 4 levels stay below. A pixel of the grey copy of a smaller image is the
mean of fewer pixels and differs by more; the limit grows with it. Parts of one make, photographed in one place, may
differ as little: where that is what images of the set do, only equal pixels count.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from panda_core.datasets.one_class import Images
from panda_core.errors import UnreadableImage

SIDE = 32  # pixels of the grey copy
SAVED_ANEW = 1.1  # levels of 255, at `LARGE` pixels of the shorter side and more; the less, the more below
LARGE, SMALL = 128, 48
TYPICAL = 0.4  # of the median distance of the set: what is not closer does not stand out
SAME_COLOUR = 3.0  # levels of the mean of a channel
STRIDE = 1024  # rows of the table of distances at a time, to bound memory


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image.

    digest: SHA-256 of shape and pixels. grey: its grey copy, (1024,) float32. colour: the mean of each channel, (3,).
    side: the shorter one, in pixels.
    """

    digest: bytes
    grey: np.ndarray
    colour: np.ndarray
    side: int


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Return the fingerprint of a decoded image, uint8 (H, W, 3)."""
    return Fingerprint(
        digest=hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest(),
        grey=grey_copy(image).astype(np.float32).ravel(),
        colour=np.array(cv2.mean(image)[:3]),
        side=min(image.shape[:2]),
    )


def grey_copy(image: np.ndarray) -> np.ndarray:
    """Return a decoded image, uint8 (H, W, 3), in grey and small: uint8 (SIDE, SIDE)."""
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def find_copies(images: Images) -> list[tuple[int, ...]]:
    """Return the groups of copies among `images`: rows, ascending, in each group; the groups by their first row.

    Every image is decoded once; those that cannot be are copies of none. 10,000 images take some seconds beyond that.
    """
    rows, prints = [], []
    for row in range(len(images)):
        try:
            prints.append(fingerprint(images.load(row)))
            rows.append(row)
        except UnreadableImage:  # it is named where the split is read
            continue
    return [tuple(rows[place] for place in group) for group in group_copies(prints)]


def group_copies(prints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """Return the groups of copies among fingerprints, as `find_copies` does."""
    leader = list(range(len(prints)))

    def first_of(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = leader[row]
        return row

    for one, other in (*_equal(prints), *_close(prints)):
        low, high = sorted((first_of(one), first_of(other)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for row in range(len(prints)):
        groups.setdefault(first_of(row), []).append(row)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _equal(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    first: dict[bytes, int] = {}
    for row, one in enumerate(prints):
        yield first.setdefault(one.digest, row), row


def _close(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Yield the pairs whose grey copies are close; equal images are looked at once."""
    rows = list({one.digest: row for row, one in reversed(list(enumerate(prints)))}.values())
    if len(rows) < 2:
        return
    grey = np.stack([prints[row].grey for row in rows])  # (N, 1024)
    colour = np.stack([prints[row].colour for row in rows])
    grey -= grey.mean(axis=0)  # small numbers: their squares keep their digits
    limits = np.array([SAVED_ANEW * LARGE / np.clip(prints[row].side, SMALL, LARGE) for row in rows])
    found: list[np.ndarray] = []
    apart: list[np.ndarray] = []
    medians: list[np.ndarray] = []
    for start in range(0, len(rows), STRIDE):
        distances = _distances(grey[start : start + STRIDE], grey)
        one, other = np.nonzero(distances < limits.max())
        pair = one + start < other
        found.append(np.stack([one[pair] + start, other[pair]], axis=1))
        apart.append(distances[one[pair], other[pair]])
        medians.append(np.median(distances[:, :: 1 + len(rows) // 500], axis=1))
    one, other = np.concatenate(found).T
    limit = np.minimum(np.minimum(limits[one], limits[other]), TYPICAL * np.median(np.concatenate(medians)))
    close = (np.concatenate(apart) < limit) & (np.abs(colour[one] - colour[other]) < SAME_COLOUR).all(axis=1)
    for left, right in zip(one[close].tolist(), other[close].tolist(), strict=True):
        yield rows[left], rows[right]


def _distances(some: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return the root mean square differences (n, N) between rows of (n, D) and of (N, D)."""
    squares = (some**2).sum(axis=1)[:, None] + (grey**2).sum(axis=1)[None] - 2 * some @ grey.T
    return np.sqrt(np.maximum(squares, 0) / grey.shape[1])
