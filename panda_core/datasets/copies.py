"""Which images of a set are copies of one another: the same pixels, saved anew, resized, or the next of a burst.

A held-out image with a twin among those learned from scores too low, and so does the threshold: with copies among
the normal images, 20 to 45 % of fresh normal images were false alarms where 5 % were promised.

Copies are told by what they show, never by their names. Images with the same pixels are copies. So are two whose small
grey copies (32 x 32 pixels) differ by less than `SAVED_ANEW` levels, root mean square: at 128 pixels and more, JPEG of
quality 60, WebP, half the size and noise of 4 levels stay below. A pixel of the grey copy of a smaller image is the
mean of fewer pixels and differs by more; the limit grows with it. Parts of one make, photographed in one place, may
differ as little: where that is what images of the set do, only equal pixels count.

Two sets that must share nothing, such as outliers and what is judged, are compared more closely (`copies_of`): where
the small grey copies are close, the pictures are too, if they have one size, no grey value differs by more than 12
levels, no mean of 8 x 8 of them by more than 2, and none of 16 x 16 pixels in a channel by more than 5. A defect of
some contrast differs by more, however small. Saved anew as JPEG of quality 95, each of 400 images of elpv, the tiles
and CIFAR-10 and of the 300 of wbc is found, and 98 % of photographs of ImageNet. Among all pairs of unlike files within
elpv, wbc, the tiles, 1,000 photographs and 55,000 images of CIFAR-10 no two are taken for one picture. The next are
cracked tiles that were photographed twice (13 levels).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from panda_core.datasets.io.ahead import decoded_ahead
from panda_core.datasets.one_class import ChangedImages, Images
from panda_core.errors import UnreadableImage

SIDE = 32  # pixels of the grey copy
SAVED_ANEW = 1.1  # levels of 255, at `LARGE` pixels of the shorter side and more; the less, the more below
LARGE, SMALL = 128, 48
TYPICAL = 0.4  # of the median distance of the set: what is not closer does not stand out
SAME_COLOUR = 3.0  # levels of the mean of a channel
OF_GREY, OF_COLOUR = ((1, 12.0), (8, 2.0)), ((16, 5.0),)  # (side, levels) by which means of one picture differ
NEAREST = 8  # close ones of which the pixels are compared
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
    found = list(_readable(images))
    return [tuple(found[place][0] for place in group) for group in group_copies([one for _, one in found])]


def _readable(images: Images) -> Iterator[tuple[int, Fingerprint]]:
    """Yield (row, fingerprint) of the images that can be decoded; the others are named where the split is read."""
    for row, image in decoded_ahead(images.load, range(len(images))):
        if not isinstance(image, UnreadableImage):
            yield row, fingerprint(image)


def shared_images(images: Images, others: Sequence[Images]) -> list[tuple[int, str]]:
    """Return (row, name of the other) of the `images` that are copies of one of `others`, as they are stored."""
    images = _stored(images)
    sets = [_stored(some) for some in others]
    ones = list(_readable(images))
    known = [(some, row, one) for some in sets for row, one in _readable(some)]
    copies = copies_of(
        [one for _, one in ones],
        [one for *_, one in known],
        lambda place: images.load(ones[place][0]),
        lambda place: known[place][0].load(known[place][1]),
    )
    return [(ones[place][0], known[other][0].names[known[other][1]]) for place, other in sorted(copies.items())]


def _stored(images: Images) -> Images:
    while isinstance(images, ChangedImages):
        images = images.images
    return images


def copies_of(
    ones: Sequence[Fingerprint],
    others: Sequence[Fingerprint],
    load: Callable[[int], np.ndarray],
    load_other: Callable[[int], np.ndarray],
) -> dict[int, int]:
    """Return which of `ones` have the pixels of one of `others`, or are that picture saved anew: place -> its place.

    load, load_other: place -> the decoded image, which is opened again where small copies are close.
    """
    first: dict[bytes, int] = {}
    for place, other in enumerate(others):
        first.setdefault(other.digest, place)
    found = {place: first[one.digest] for place, one in enumerate(ones) if one.digest in first}
    for place, close in _closest(ones, others):
        if place not in found:
            image = load(place)
            same = next((other for other in close if is_saved_anew(image, load_other(other))), None)
            if same is not None:
                found[place] = same
    return found


def is_saved_anew(image: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two decoded images, uint8 (H, W, 3), are one picture of one size, saved in two ways."""
    if image.shape != other.shape:
        return False
    grey, other_grey = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (image, other))
    return all(_apart(grey, other_grey, side) <= most for side, most in OF_GREY) and all(
        _apart(image, other, side) <= most for side, most in OF_COLOUR
    )


def _apart(one: np.ndarray, other: np.ndarray, side: int) -> float:
    """Return by how much means of `side` x `side` pixels differ at most."""
    size = max(1, one.shape[1] // side), max(1, one.shape[0] // side)
    means, others = (cv2.resize(some.astype(np.float32), size, interpolation=cv2.INTER_AREA) for some in (one, other))
    return float(np.abs(means - others).max())


def _closest(ones: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> Iterator[tuple[int, list[int]]]:
    """Yield each place of `ones` whose small copy is close to some of `others`, and the places of the closest ones."""
    if not ones or not others:
        return
    grey = np.stack([other.grey for other in others])
    middle = grey.mean(axis=0)
    grey -= middle  # small numbers: their squares keep their digits
    colour, limits = np.stack([other.colour for other in others]), _limits(others)
    for start in range(0, len(ones), STRIDE):
        some = ones[start : start + STRIDE]
        distances = _distances(np.stack([one.grey for one in some]) - middle, grey)
        for place, one in enumerate(some, start):
            row = distances[place - start]
            (close,) = np.nonzero((row < limits) & (np.abs(colour - one.colour) < SAME_COLOUR).all(axis=1))
            if len(close):
                yield place, close[np.argsort(row[close], kind="stable")][:NEAREST].tolist()


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
    limits = _limits([prints[row] for row in rows])
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


def _limits(prints: Sequence[Fingerprint]) -> np.ndarray:
    """Return (N,) by how much small grey copies may differ."""
    return np.array([SAVED_ANEW * LARGE / np.clip(one.side, SMALL, LARGE) for one in prints])


def _distances(some: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return the root mean square differences (n, N) between rows of (n, D) and of (N, D)."""
    squares = (some**2).sum(axis=1)[:, None] + (grey**2).sum(axis=1)[None] - 2 * some @ grey.T
    return np.sqrt(np.maximum(squares, 0) / grey.shape[1])
